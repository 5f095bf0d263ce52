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
    const word = verdict();
    const figures = minutes(pulse);
    const here = whoIsHere(signal, pulse);
    fill(body, word.element, figures.element, here.element);
    const show = () => {
      word.show(judge(pulse));
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

/**
 * What is not as it should be, the worst first: for each a name, how much it matters, words, and where to look into it. Or
 * that all is well.
 */
function judge({ status, fresh, diagnosis, overdue, endpoints }) {
  const sum = (read) => status.hubs.reduce((all, one) => all + read(one), 0);
  const failed = sum((hub) => hub.queue.failed);
  const waits = sum((hub) => hub.queue.depth + hub.queue.pending);
  const oldestMs = Math.max(...status.hubs.map((hub) => hub.queue.oldestMs));
  const alerts = diagnosis?.findings.filter(({ severity }) => severity === "alert") ?? [];
  const failing = endpoints?.filter((one) => one.failingSince && one.enabled).length ?? 0;
  const found = [];
  const find = (name, kind, words, where) => found.push({ name, kind, words, where });
  if (!fresh) find("away", "alert", "The hub does not answer; this is how it was.");
  if (status.hubs.some(({ draining }) => draining)) find("draining", "advice", "The hub is draining: it will stop in a moment.");
  for (const { check, says } of alerts) find(check, "alert", `${sentence(says)}.`, to("queue"));
  if (waits && oldestMs > SLOW_MS && !alerts.length) {
    find("slow", "advice", `${many(waits, "recipient waits", "recipients wait")}, the first for ${age(oldestMs)}.`, to("queue"));
  }
  if (failed && !alerts.some(({ check }) => check === "failed")) {
    find("failed", "advice", `${many(failed, "recipient has", "recipients have")} not taken what was theirs.`, to("deliveries", [], { outcome: "failed" }));
  }
  if (failing) find("failing", "advice", `${many(failing, "webhook gets", "webhooks get")} nothing through.`, to("webhooks"));
  if (overdue) find("overdue", "advice", `${many(overdue, "reminder is", "reminders are")} overdue.`, to("reminders"));
  if (!found.length) find("fine", "fine", waits ? `${many(waits, "recipient")} on the way; nothing is wrong.` : "All is well. Nothing waits.");
  return found;
}

/** The verdict: seen as it is at each moment; read out when there is another matter, and not with each count. */
function verdict() {
  const list = el("ul", { class: "findings" });
  const spoken = el("p", { class: "unseen", role: "status" });
  let before = "";
  let texts = [];
  return {
    element: el("div", { class: "verdict" }, list, spoken),
    show(found) {
      const matters = found.map(({ name, kind }) => `${name} ${kind}`).join();
      if (matters === before) {
        found.forEach(({ words }, i) => (texts[i].textContent = words));
        return;
      }
      before = matters;
      texts = found.map(({ words }) => el("span", {}, words));
      fill(
        list,
        found.map(({ kind, where }, i) =>
          el(
            "li",
            { class: kind },
            el("span", { class: "word" }, kind === "fine" ? "ok" : kind),
            el("span", {}, texts[i], where && [" ", roomLink(where, "Look into it")]),
          ),
        ),
      );
      spoken.textContent = found.map(({ words }) => words).join(" ");
    },
  };
}
