// Now: whether somebody has to come, how it went in the last ten minutes, and who is here.

import { el, fill, roomLink } from "./dom.js";
import { whoIsHere } from "./here.js";
import { minutes } from "./minutes.js";
import { to } from "./route.js";
import { age, many, sentence } from "./words.js";

export const now = {
  name: "now",
  title: "Now",
  beside: true,
  open({ body, signal, pulse }) {
    if (!pulse.admin) {
      ownOnly(body, signal, pulse);
      return;
    }
    const verdict = el("div", { class: "verdict", role: "status" });
    const figures = minutes(pulse);
    const here = whoIsHere(signal, pulse);
    fill(body, verdict, figures.element, here.element);
    const show = () => {
      judge(verdict, pulse);
      figures.draw();
      here.look();
    };
    for (const event of ["status", "stale", "look"]) pulse.addEventListener(event, show, { signal });
    show();
  },
};

/** What somebody without the scope `admin` may know: their own streams. */
function ownOnly(body, signal, pulse) {
  const own = el("p", { class: "verdict" });
  fill(
    body,
    own,
    el("p", { class: "aside" }, "How the hub is, its charts and who else is here take the scope admin."),
  );
  const show = () => {
    const { streams } = pulse.status;
    own.textContent = `You have ${many(streams.own, "open stream")}. What comes to you rings here.`;
  };
  pulse.addEventListener("status", show, { signal });
  show();
}

// ---------------------------------------------------------------- the verdict

/** A wait of so long is worth a word. */
const SLOW_MS = 60_000;

/** One word for each thing that is not as it should be, the worst first; or that all is well. */
function judge(element, { status, fresh, diagnosis, overdue, endpoints }) {
  const sum = (read) => status.hubs.reduce((all, one) => all + read(one), 0);
  const failed = sum((hub) => hub.queue.failed);
  const waits = sum((hub) => hub.queue.depth + hub.queue.pending);
  const oldestMs = Math.max(...status.hubs.map((hub) => hub.queue.oldestMs));
  const alerts = diagnosis?.findings.filter(({ severity }) => severity === "alert") ?? [];
  const failing = endpoints?.filter((one) => one.failingSince && one.enabled).length ?? 0;
  const said = [
    !fresh && ["alert", "The hub does not answer; this is how it was.", null],
    status.hubs.some(({ draining }) => draining) && ["advice", "The hub is draining: it will stop in a moment.", null],
    ...alerts.map(({ says }) => ["alert", says, to("queue")]),
    waits > 0 && oldestMs > SLOW_MS && !alerts.length && ["advice", `${many(waits, "recipient")} ${waits === 1 ? "waits" : "wait"}, the first for ${age(oldestMs)}`, to("queue")],
    failed > 0 && !alerts.some(({ check }) => check === "failed") && ["advice", `${many(failed, "recipient")} ${failed === 1 ? "has" : "have"} not taken what was theirs`, to("deliveries", [], { outcome: "failed" })],
    failing > 0 && ["advice", `${many(failing, "webhook")} ${failing === 1 ? "gets" : "get"} nothing through`, to("webhooks")],
    overdue && ["advice", `${many(overdue, "reminder")} ${overdue === 1 ? "is" : "are"} overdue`, to("reminders")],
  ].filter(Boolean);
  const lines = said.length
    ? said
    : [["fine", waits ? `${many(waits, "recipient")} on the way; nothing is wrong` : "All is well. Nothing waits", null]];
  // Read out when it changes, and not with each count.
  const key = JSON.stringify(lines);
  if (element.dataset.says === key) return;
  element.dataset.says = key;
  fill(
    element,
    el(
      "ul",
      { class: "findings" },
      lines.map(([kind, words, where]) =>
        el(
          "li",
          { class: kind },
          el("span", { class: "word" }, kind === "fine" ? "ok" : kind),
          el("span", {}, sentenceOf(words), where && [" ", roomLink(where, "Look into it")]),
        ),
      ),
    ),
  );
}

const sentenceOf = (words) => `${sentence(words)}${words.endsWith(".") ? "" : "."}`;
