// Reminders: what is overdue first, then what is to come; and of each, what was published and what came of it.

import { get, inWords, remove } from "./api.js";
import { confirm } from "./dialog.js";
import { button, el, facts, fill, roomLink, table, text, time } from "./dom.js";
import { listing } from "./listing.js";
import { parts, severityOf } from "./notice.js";
import { outcomeMark } from "./outcome.js";
import { to } from "./route.js";
import { count, cut, many, tail } from "./words.js";

const LIMIT = 50;

export const reminders = {
  name: "reminders",
  title: "Reminders",
  needs: "publish",
  why: "Reminders are for whoever publishes, each their own, and for administrators.",
  open(room) {
    return room.segments.length ? openOne(room) : openAll(room);
  },
};

const address = ({ key, publisher }) => to("reminders", [key], { publisher });
const what = ({ draft }) => cut(draft.title ?? draft.message ?? "", 80);

function openAll({ body, signal, pulse }) {
  const key = { head: "Key", cell: (row) => roomLink(address(row), text(row.key)) };
  const says = { head: "Says", cell: (row) => text(what(row)), kind: "wide" };
  const by = pulse.admin && { head: "By", cell: ({ publisher }) => text(publisher) };
  const times = { head: "Published", cell: ({ sent }) => (sent ? many(sent, "time") : "not yet") };
  const overdue = listing({
    what: "reminder",
    into: table({
      caption: "Overdue reminders",
      quiet: true,
      columns: [
        key,
        { head: "Overdue by", cell: ({ overdueText }) => el("strong", {}, overdueText) },
        says,
        by,
        times,
        { head: "Last", cell: ({ lastSentAt }) => time(lastSentAt) },
        { head: "Next", cell: ({ nextAt }) => (nextAt ? time(nextAt) : "no more") },
      ].filter(Boolean),
    }),
    empty: el("p", {}, "Nothing is overdue."),
    load: (after) => page({ overdue: true, after }),
  });
  const toCome = listing({
    what: "reminder",
    into: table({
      caption: "Reminders to come",
      quiet: true,
      columns: [
        key,
        { head: "Due", cell: ({ dueAt }) => time(dueAt) },
        { head: "Then every", cell: ({ repeatEvery }) => repeatEvery ?? "once only" },
        says,
        by,
      ].filter(Boolean),
    }),
    empty: el("p", {}, "Nothing is to come. A publisher makes one with ", el("code", {}, "PUT /reminders/{key}"), "."),
    async load(after) {
      const { rows, next } = await page({ after });
      return { rows: rows.filter((row) => !row.overdue), next };
    },
  });
  async function page(query) {
    const answer = await get(["reminders"], { query: { ...query, limit: LIMIT }, signal });
    return { rows: answer.reminders, next: answer.nextCursor };
  }
  fill(
    body,
    el("section", { "aria-labelledby": "overdue-heading" }, el("h2", { id: "overdue-heading" }, "Overdue"), overdue.element),
    el("section", { "aria-labelledby": "to-come-heading" }, el("h2", { id: "to-come-heading" }, "To come"), toCome.element),
  );
  return Promise.all([overdue.show(), toCome.show()]);
}

async function openOne({ body, entitle, segments: [key], query, signal, pulse }) {
  const publisher = query.get("publisher") ?? undefined;
  entitle(`Reminder ${key}`, ["Reminder ", text(key)]);
  const back = el("p", { class: "back" }, roomLink(to("reminders"), "All reminders"));
  const history = listing({
    what: "publication",
    into: table({
      caption: "What was published of it",
      quiet: true,
      columns: [
        { head: "Published", cell: ({ sentAt }) => time(sentAt) },
        { head: "Overdue by", cell: ({ overdueText }) => overdueText },
        { head: "Notification", cell: ({ notificationId }) => roomLink(to("deliveries", [notificationId]), el("code", { title: notificationId }, tail(notificationId))) },
        { head: "Webhooks", cell: ({ webhooks }) => (webhooks.length ? el("ul", { class: "plain" }, webhooks.map(webhook)) : "none told of it"), kind: "wide" },
      ],
    }),
    empty: el("p", {}, "Nothing was published of it yet."),
    async load(before) {
      const answer = await get(["reminders", key, "history"], { query: { publisher, before, limit: LIMIT }, signal });
      return { rows: answer.history, next: answer.nextCursor };
    },
  });
  const webhook = ({ endpointId, status, answerStatus, error }) =>
    el(
      "li",
      {},
      outcomeMark(status),
      " ",
      pulse.admin ? roomLink(to("webhooks", [endpointId]), "endpoint") : "endpoint",
      answerStatus && `, answered ${answerStatus}`,
      error && [": ", text(error)],
    );
  const said = el("p", { class: "said", role: "status" });
  const about = el("div", { class: "stack" });
  fill(body, back, about, el("section", { "aria-labelledby": "history-heading" }, el("h2", { id: "history-heading" }, "History"), history.element));
  try {
    const reminder = await get(["reminders", key], { query: { publisher }, signal });
    fill(about, told(reminder, done, said));
  } catch (error) {
    if (error.status !== 404) throw error;
    fill(about, el("p", { class: "verdict" }, "There is no such reminder any more. What was published of it stays known."));
  }
  await history.show();

  async function done() {
    const sure = await confirm({
      title: "Is it done?",
      words: "The reminder is deleted, and nothing more is published of it. Its history stays.",
      act: "It is done",
    });
    if (!sure) return;
    try {
      await remove(["reminders", key], { query: { publisher } });
      pulse.look();
      fill(about, el("p", { class: "verdict", role: "status" }, "It is done: the reminder was deleted."));
      document.getElementById("heading").focus();
    } catch (error) {
      said.textContent = inWords(error);
    }
  }
}

function told(reminder, done, said) {
  const { overdue, overdueText, dueAt, repeatEvery, nextAt, lastSentAt, sent, publisher, createdAt, changedAt, draft } = reminder;
  const audience = [...(draft.targetUserIds ?? []), draft.targetUserId].filter(Boolean).map((id) => `user ${id}`);
  const roles = (draft.targetRoles ?? []).map((role) => `role ${role}`);
  return [
    el(
      "p",
      { class: "verdict" },
      overdue ? `It is overdue by ${overdueText}. ` : ["It is due ", time(dueAt), ". "],
      sent ? `It was published ${many(sent, "time")}, ` : "Nothing was published of it yet. ",
      sent > 0 && ["last ", time(lastSentAt), ". "],
      nextAt ? ["It is published next ", time(nextAt), "."] : "It is not published again.",
    ),
    el("div", { class: "actions" }, button("It is done", done, { kind: "danger", id: "reminder-done" }), said),
    el("section", { class: "letter", "aria-label": "What is published", data: { severity: severityOf(draft) } }, parts({ ...draft, notificationId: "" }, { heading: "h2" })),
    facts([
      ["Due", time(dueAt)],
      ["Then every", repeatEvery ?? "once only"],
      ["For", text([...audience, ...roles].join(", "))],
      ["Published by", text(publisher)],
      ["Webhooks", draft.webhook ?? "always"],
      ["Times published", count(sent)],
      ["Made", time(createdAt)],
      ["Changed", time(changedAt)],
    ]),
  ];
}
