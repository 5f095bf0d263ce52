// One endpoint of webhooks: tried out, turned off and on, given another secret, changed; and what was sent there, which
// can be sent again.

import { get, inWords, patch, post, remove } from "./api.js";
import { confirm, showOnce } from "./dialog.js";
import { button, el, facts, fill, roomLink, table, text, time } from "./dom.js";
import { endpointFields, filters, state } from "./endpoint-fields.js";
import { choice, field, form, line } from "./form.js";
import { listing } from "./listing.js";
import { outcomeMark } from "./outcome.js";
import { go, to } from "./route.js";
import { count, many, tail } from "./words.js";

const LIMIT = 50;
/** An endpoint has 15 s to answer a test. */
const TEST_MS = 40_000;

export async function openEndpoint({ body, entitle, segments: [id], query, signal, pulse }) {
  entitle("Endpoint");
  const back = el("p", { class: "back" }, roomLink(to("webhooks"), "All endpoints"));
  const said = el("p", { class: "said", role: "status", id: "endpoint-said" });
  const about = el("div", {});
  const answer = el("div", { id: "tested" });
  const actions = el("div", { class: "actions" });
  const changing = changeForm();
  const past = history(id, query.get("status") ?? "", signal, (one) => redeliver(one));
  const again = redeliverForm();
  fill(body, back, about, actions, said, answer, changing.element, past.element, again.element);

  let endpoint;
  function show(fresh) {
    endpoint = fresh;
    entitle(`Endpoint ${fresh.url}`, text(fresh.url));
    fill(
      about,
      facts([
        ["State", state(fresh)],
        ["Is told of", fresh.on === "always" ? "everything, once everybody has a verdict" : "what somebody has not taken after the last retry"],
        ["If it is", text(filters(fresh))],
        ["Made", time(fresh.createdAt)],
        ["Turned off", time(fresh.disabledAt)],
        ["The secret before signs until", time(fresh.oldSecretUntil)],
        ["Id", el("code", {}, fresh.id)],
      ]),
    );
    fill(
      actions,
      button("Send a test", test, { kind: "primary", id: "endpoint-test", disabled: !fresh.enabled }),
      button(fresh.enabled ? "Turn it off" : "Turn it on", toggle, { id: "endpoint-toggle" }),
      button("A new secret", rotate, { id: "endpoint-rotate" }),
      button("Delete it", drop, { kind: "danger", id: "endpoint-delete" }),
    );
    changing.show(fresh);
  }
  /** Does something, and says what came of it or why it did not; the focus stays with whoever pressed. */
  async function act(words, doing, id) {
    said.textContent = words;
    try {
      said.textContent = await doing();
    } catch (error) {
      said.textContent = inWords(error);
    }
    if (id) document.getElementById(id)?.focus();
  }

  const test = () =>
    act("Sending a test; the endpoint has 15 s to answer.", async () => {
      fill(answer);
      const tested = await post(["webhooks", id, "test"], { limitMs: TEST_MS });
      fill(answer, tested.answer && el("pre", { class: "excerpt", tabindex: "0" }, tested.answer));
      await past.list.show();
      const status = tested.answerStatus ? `It answered ${tested.answerStatus}` : "It did not answer";
      return `${tested.status === "sent" ? "The test came through." : "The test did not come through."} ${status}${tested.error ? `: ${tested.error}` : ""}.`;
    });
  const toggle = () =>
    act(
      "",
      async () => {
        const enabled = !endpoint.enabled;
        show(await patch(["webhooks", id], { body: { enabled } }));
        pulse.look();
        return enabled ? "It is on." : "It is off: what is decided from now on is not kept for it.";
      },
      "endpoint-toggle",
    );
  async function rotate() {
    const sure = await confirm({ title: "A new secret?", words: "For a day both sign, the new one and the one before.", act: "Draw a new secret" });
    if (!sure) return;
    await act(
      "",
      async () => {
        const { secret, ...fresh } = await post(["webhooks", id, "rotate"]);
        show(fresh);
        showOnce({ title: "The new secret", words: "It is shown this once.", secret, back: "endpoint-rotate" });
        return "It has a new secret.";
      },
    );
  }
  async function drop() {
    const sure = await confirm({ title: "Delete the endpoint?", words: "Nothing is sent there any more. What was sent stays on record for as long as the hub keeps it.", act: "Delete it", danger: true });
    if (!sure) return;
    await act("", async () => {
      await remove(["webhooks", id]);
      pulse.look();
      go(to("webhooks"));
      return "It was deleted.";
    });
  }
  const redeliver = (one) =>
    act(
      "",
      async () => {
        await post(["webhooks", "deliveries", one, "redeliver"]);
        await past.list.show();
        return "It waits to be sent again.";
      },
      "sent-heading",
    );

  function changeForm() {
    const wanted = endpointFields("change");
    const it = form({
      id: "change",
      content: wanted.content,
      actions: [el("button", { type: "submit", class: "primary" }, "Change it")],
      fields: [[/^severities/, "change-severities-low"], [/^roles/, "change-roles"], [/^modules/, "change-modules"]],
      async submit() {
        await it.during("Asking the hub.", async () => {
          show(await patch(["webhooks", id], { body: wanted.value }));
          it.outcome.textContent = "It was changed.";
        });
      },
    });
    const element = el("details", { class: "group" }, el("summary", {}, "Change what it is told"), it.element);
    return { element, show: (fresh) => (wanted.value = fresh) };
  }

  function redeliverForm() {
    const since = line("redeliver-since", { value: "24h" });
    const it = form({
      id: "redeliver",
      content: field(since, "Failed since", { hint: "How long ago, or a time. Tests are left out." }),
      actions: [el("button", { type: "submit", id: "redeliver-button" }, "Send all of them again")],
      async submit() {
        const sure = await confirm({
          title: "Send again all that failed?",
          words: "Each keeps its id: a receiver that had it already can tell.",
          act: "Send again",
        });
        if (!sure) return;
        await it.during("Asking the hub.", async () => {
          const { redelivered, more } = await post(["webhooks", id, "redeliver"], { body: { since: since.value.trim() } });
          it.outcome.textContent = `${many(redelivered, "webhook waits", "webhooks wait")} to be sent again${more ? "; there are more, send once more" : ""}.`;
          await past.list.show();
        });
      },
    });
    return { element: el("section", { "aria-labelledby": "again-heading" }, el("h2", { id: "again-heading" }, "Send again what failed"), it.element) };
  }

  try {
    show(await get(["webhooks", id], { signal }));
  } catch (error) {
    if (error.status !== 404) throw error;
    fill(about, el("p", { class: "verdict" }, "There is no such endpoint any more. What was sent there is kept for a while."));
    changing.element.remove();
    again.element.remove();
  }
  await past.list.show();
}

/** What was sent there, and what was answered. */
function history(id, status, signal, redeliver) {
  const wanted = choice("history-status", [["", "any status"], "waiting", "sending", "sent", "failed"], status);
  wanted.addEventListener("change", () => list.show());
  const list = listing({
    what: "webhook",
    into: table({
      caption: "What was sent there",
      quiet: true,
      columns: [
        { head: "Decided", cell: ({ createdAt }) => time(createdAt) },
        { head: "Tells", cell: ({ type, notificationId }) => (notificationId ? [TOPICS[type] ?? type, " ", roomLink(to("deliveries", [notificationId]), el("code", { title: notificationId }, tail(notificationId)))] : (TOPICS[type] ?? type)) },
        { head: "Status", cell: (row) => outcomeMark(row.status) },
        { head: "Tries", cell: ({ attempts }) => count(attempts), kind: "number" },
        { head: "Answer", cell: answered, kind: "wide" },
        { head: "Next try", cell: ({ nextAt }) => time(nextAt) },
        { head: "To do", cell: (row) => ["sent", "failed"].includes(row.status) && button("Send again", () => redeliver(row.id)), kind: "act" },
      ],
    }),
    empty: el("p", {}, "Nothing was sent there."),
    async load(before) {
      const answer = await get(["webhooks", id, "deliveries"], { query: { status: wanted.value, before, limit: LIMIT }, signal });
      return { rows: answer.deliveries, next: answer.nextCursor };
    },
  });
  const element = el(
    "section",
    { "aria-labelledby": "sent-heading" },
    el("h2", { id: "sent-heading", tabindex: "-1" }, "History"),
    el("div", { class: "field short" }, el("div", { class: "label" }, el("label", { for: "history-status" }, "Status")), wanted),
    list.element,
  );
  return { element, list };
}

/** What the last try came to. An error of an answer names its status. */
export const answered = ({ answerStatus, answer, error }) => [
  error ? text(error) : answerStatus,
  answer && el("pre", { class: "excerpt", tabindex: "0" }, answer),
];

const TOPICS = { "notification.undelivered": "undelivered", "notification.created": "published", "webhook.test": "a test" };
