// The queue: what is wrong and what to do next, then who waits; and claims that are taken back by hand. It tells what
// `campanile queue` tells.

import { get, inWords, post } from "./api.js";
import { confirm, copyable } from "./dialog.js";
import { button, el, facts, fill, roomLink, table, text } from "./dom.js";
import { field, form, line, tick } from "./form.js";
import { listing } from "./listing.js";
import { minutes } from "./minutes.js";
import { outcomeMark } from "./outcome.js";
import { to } from "./route.js";
import { age, ago, count, many, recipient, sentence, tail } from "./words.js";

const LIMIT = 50;
/** Of what a finding names, so many at first: what is wrong besides should be in sight. */
const FEW = 5;
/** A deep look is given 20 s by the hub. */
const DEEP_MS = 40_000;

export const queue = {
  name: "queue",
  title: "Queue",
  needs: "admin",
  why: "What waits, and what is wrong with it, is for administrators.",
  async open({ body, signal, pulse }) {
    const diagnosis = el("section", { id: "diagnosis", "aria-labelledby": "wrong-heading" });
    const numbers = el("section", { "aria-labelledby": "counts-heading" });
    const said = el("p", { class: "said", role: "status" });
    const release = unlocking(pulse, () => refresh());
    const waiting = whoWaits(signal);
    const figures = minutes(pulse, ["waiting", "oldest"]);
    for (const event of ["status", "stale"]) pulse.addEventListener(event, figures.draw, { signal });
    figures.draw();
    fill(
      body,
      el(
        "div",
        { class: "actions" },
        button("Ask again", () => refresh(), { id: "queue-again" }),
        button("Look at every row and page", () => diagnose(true), { kind: "quiet", id: "queue-deep" }),
        said,
      ),
      diagnosis,
      figures.element,
      el("section", { "aria-labelledby": "waits-heading" }, el("h2", { id: "waits-heading" }, "Who waits"), waiting.element),
      release.element,
      numbers,
    );

    async function diagnose(deep) {
      said.textContent = deep ? "The hub reads its whole store; that may take 20 s." : "Asking the hub.";
      try {
        const answer = await get(["queue", "diagnosis"], { query: { deep }, signal, limitMs: deep ? DEEP_MS : undefined });
        fill(diagnosis, told(answer, release));
        fill(numbers, el("h2", { id: "counts-heading" }, "Counts"), counts(answer));
        said.textContent = `As of ${new Date(answer.at).toLocaleTimeString("en-GB")}${deep ? ", every row looked at" : ""}.`;
      } catch (error) {
        if (!signal.aborted) said.textContent = inWords(error);
      }
    }
    async function refresh() {
      await Promise.all([diagnose(false), waiting.show()]);
      pulse.look();
    }
    await Promise.all([diagnose(false), waiting.show()]);
  },
};

// ---------------------------------------------------------------- the diagnosis

function told(diagnosis, release) {
  const { findings, at } = diagnosis;
  const wrong = findings.filter(({ severity }) => severity !== "fine");
  const fine = findings.filter(({ severity }) => severity === "fine");
  return [
    el("h2", { id: "wrong-heading" }, wrong.length ? "What is wrong, and what to do next" : "Nothing is wrong"),
    el(
      "ul",
      { class: "findings" },
      wrong.map((finding) =>
        el(
          "li",
          { class: finding.severity },
          el("span", { class: "word" }, finding.severity),
          el("div", {}, el("p", {}, `${sentence(finding.says)}.`), next(finding, release), rowsOf(finding.check, diagnosis, Date.parse(at))),
        ),
      ),
      fine.map(({ says }) => el("li", { class: "fine" }, el("span", { class: "word" }, "ok"), el("span", {}, `${sentence(says)}.`))),
    ),
  ];
}

/** What to type; and where this page can do it, a way there. */
function next({ next: words }, release) {
  if (!words) return null;
  const [, which] = words.match(/^campanile why (\S+)$/) ?? [];
  return el(
    "div",
    { class: "next" },
    /\bcampanile /.test(words) ? copyable(words) : el("p", {}, `${sentence(words)}.`),
    which && roomLink(to("deliveries", [which]), "Tell why"),
    words.startsWith("campanile queue unlock") && button("Release it here", () => release.look(), { kind: "quiet" }),
  );
}

/** What a finding is about; nothing for those that name no rows. */
function rowsOf(check, { stuck, failed, doubles, references, broken }, now) {
  const id = { head: "Notification", cell: ({ notificationId }) => roomLink(to("deliveries", [notificationId]), el("code", { title: notificationId }, tail(notificationId))) };
  const who = { head: "For", cell: (row) => text(recipient(row.recipient)) };
  const since = (read) => ({ head: "For how long", cell: (row) => ago(read(row), now), kind: "number" });
  const tries = { head: "Tries", cell: ({ attempts }) => count(attempts), kind: "number" };
  const [caption, rows, total, columns] =
    {
      stuck: ["Processing for too long", stuck.first, stuck.count, [id, who, since((row) => row.since), tries]],
      failed: ["The latest that failed", failed.first, failed.count, [id, who, { ...since((row) => row.at), head: "Ago" }, { head: "Why", cell: ({ reason }) => text(reason ?? "nobody took it"), kind: "wide" }]],
      doubles: [
        "Likely sent twice",
        doubles.first,
        doubles.count,
        [{ ...id, head: "The first" }, { head: "By", cell: ({ publisher }) => text(publisher) }, { head: "Times", cell: ({ times }) => count(times), kind: "number" }],
      ],
      references: [
        "Counters near their last number",
        references,
        references.length,
        [{ head: "Prefix", cell: ({ prefix, month }) => `${prefix}-${month}` }, { head: "Last number", cell: ({ last }) => count(last), kind: "number" }],
      ],
      invariants: ["Rules that are broken", broken, broken.length, [{ head: "Rule", cell: ({ rule }) => rule }, { head: "Times", cell: (row) => count(row.count), kind: "number" }, { head: "One of them", cell: ({ example }) => text(example), kind: "wide" }]],
    }[check] ?? [];
  if (!rows?.length) return null;
  const list = listing({
    what: "row",
    into: table({ caption: total > rows.length ? `${caption}: ${count(rows.length)} of ${count(total)}` : caption, columns }),
    empty: null,
    load: async (from = 0) => ({ rows: rows.slice(from, from + FEW), next: from + FEW < rows.length ? from + FEW : null }),
  });
  list.show();
  return list.element;
}

function counts({ counts: n, queue: { head, settled, oldestAt }, failed, duplicates, at }) {
  const now = Date.parse(at);
  const depth = Math.max(0, head - settled);
  const oldest = (moment, there) => (moment && there ? `, the oldest ${ago(moment, now)} ago` : "");
  return facts([
    ["In the queue", `${count(depth)}${oldest(oldestAt, depth)}`],
    ["Owed", `${count(n.pending)}${oldest(n.oldestOwedAt, n.pending)}`],
    ["Asked after now", count(n.processing)],
    ["Sent later", count(n.sent)],
    ["Failed", n.failed ? [roomLink(to("deliveries", [], { outcome: "failed" }), count(n.failed)), `, ${count(failed.count)} in the last 24 h`] : "0"],
    ["Expired", count(n.expired)],
    ["Scheduled", count(n.scheduled)],
    ["Stored", `${many(n.notifications, "notification")}, ${many(n.broadcasts, "broadcast")}`],
    ["Duplicates in 24 h", duplicates ? roomLink(to("duplicates", [], { since: "24h" }), count(duplicates)) : "0"],
  ]);
}

// ---------------------------------------------------------------- who waits

function whoWaits(signal) {
  const rows = table({
    caption: "Owed, the oldest first",
    quiet: true,
    columns: [
      { head: "Notification", cell: ({ notificationId }) => roomLink(to("deliveries", [notificationId]), el("code", { title: notificationId }, tail(notificationId))) },
      { head: "For", cell: (row) => text(recipient(row.recipient)) },
      { head: "State", cell: ({ state }) => outcomeMark(state) },
      { head: "Waits", cell: ({ createdAt }) => ago(createdAt), kind: "number" },
      { head: "Tries", cell: ({ attempts }) => count(attempts), kind: "number" },
      { head: "Why", cell: ({ reason }) => reason && text(reason), kind: "wide" },
      { head: "Next", cell: ({ nextAt, since }) => (since ? `claimed ${ago(since)} ago` : nextAt && inFuture(nextAt)) },
    ],
  });
  return listing({
    what: "recipient",
    into: rows,
    empty: el("p", {}, "Nobody waits for anything."),
    async load(after) {
      const answer = await get(["queue"], { query: { after, limit: LIMIT }, signal });
      return { rows: answer.owed, next: answer.nextCursor };
    },
  });
}

const inFuture = (iso) => {
  const ms = Date.parse(iso) - Date.now();
  return ms <= 0 ? "due" : `in ${age(ms)}`;
};

// ---------------------------------------------------------------- taking claims back

function unlocking(pulse, done) {
  const olderThan = line("unlock-olderThan", { value: "10m" });
  const force = tick("unlock-force", "Also what has no attempt left; its attempts begin anew");
  const result = el("div", { id: "unlocked" });
  const look = el("button", { type: "submit", id: "unlock-look" }, "See what would be released");
  const it = form({
    id: "unlock",
    content: [field(olderThan, "Processing for longer than", { hint: "Such as 10m or 1h." }), force.element],
    actions: [look],
    submit: () => ask(false),
  });
  async function ask(execute) {
    await it.during("Asking the hub.", async () => {
      const body = { olderThan: olderThan.value.trim(), force: force.box.checked, execute };
      const answer = await post(["queue", "unlock"], { body });
      it.outcome.textContent = whatItDoes(answer, body.olderThan);
      fill(result, claims(answer), !answer.executed && answer.released > 0 && executing(answer.released));
      if (execute) done();
    });
  }
  const executing = (n) =>
    button(
      `Release ${many(n, "recipient")}`,
      async () => {
        const sure = await confirm({
          title: `Release ${many(n, "recipient")}?`,
          words: "Each is owed again and asked after at once. If whoever claimed it is still at work, somebody may be asked twice; nobody is sent it twice.",
          act: "Release",
        });
        if (!sure) return;
        await ask(true);
        look.focus();
      },
      { kind: "primary", id: "unlock-execute" },
    );
  const element = el(
    "details",
    { class: "group", id: "release" },
    el("summary", {}, "Release what is stuck"),
    el("p", { class: "aside" }, "What somebody claimed and never settled is taken back by the hub itself after 10 min. This is for whoever cannot wait. Nothing is changed before it has been shown."),
    it.element,
    result,
  );
  return {
    element,
    /** Opens it, and looks. */
    look() {
      element.open = true;
      element.querySelector("summary").focus();
      ask(false);
    },
  };
}

function whatItDoes({ executed, released, kept }, olderThan) {
  if (released + kept === 0) return `Nothing has been processing for longer than ${olderThan}.`;
  const left = kept ? ` ${many(kept, "recipient has", "recipients have")} no attempt left and ${kept === 1 ? "is" : "are"} kept as ${kept === 1 ? "it is" : "they are"}.` : "";
  if (executed) return `${many(released, "recipient was", "recipients were")} released, and ${released === 1 ? "is" : "are"} due now.${left}`;
  return `${many(released, "recipient")} would be released. Nothing was changed.${left}`;
}

function claims({ claims: rows, released, kept }) {
  if (!rows.length) return null;
  const shown = table({
    caption: "Claims",
    columns: [
      { head: "Notification", cell: ({ notificationId }) => roomLink(to("deliveries", [notificationId]), el("code", { title: notificationId }, tail(notificationId))) },
      { head: "For", cell: (row) => text(recipient(row.recipient)) },
      { head: "Claimed for", cell: ({ since }) => ago(since), kind: "number" },
      { head: "Tries", cell: ({ attempts }) => count(attempts), kind: "number" },
      { head: "By", cell: ({ owner }) => text(owner) },
      { head: "Released", cell: (row) => (row.released ? "yes" : "kept") },
    ],
  });
  shown.add(rows);
  const more = released + kept - rows.length;
  return [shown.element, more > 0 && el("p", { class: "aside" }, `And ${count(more)} more.`)].filter(Boolean);
}
