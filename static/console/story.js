// The story of one notification: why she did not get it, in words first; then who it was for, and which webhooks told
// of it.

import { get, inWords, post, remove } from "./api.js";
import { confirm } from "./dialog.js";
import { button, el, facts, fill, roomLink, table, text, time } from "./dom.js";
import { answered } from "./endpoint.js";
import { listing } from "./listing.js";
import { parts, severityOf } from "./notice.js";
import { outcomeMark } from "./outcome.js";
import { to } from "./route.js";
import { count, cut, many, moment, recipient, sentence, tail } from "./words.js";

/** Who is of more interest comes first. */
const ORDER = ["failed", "cancelled", "expired", "processing", "pending", "sent"];
/** Of how many each is explained in a sentence of its own. */
const EXPLAINED = 5;
/** Recipients on a page: an audience may be a thousand. */
const PAGE = 50;

export async function openStory({ body, entitle, segments: [which], signal, pulse }) {
  entitle(which);
  const back = el("p", { class: "back" }, roomLink(to("deliveries"), "All deliveries"));
  fill(body, back, el("p", { role: "status" }, "Asking the hub."));
  const again = async (then = "story-again") => {
    await openStory({ body, entitle, segments: [which], signal, pulse });
    document.getElementById(then)?.focus();
  };
  let story, webhooks, endpoints;
  try {
    [story, { webhooks }, { endpoints }] = await Promise.all([
      get(["notifications", which, "deliveries"], { signal }),
      get(["notifications", which, "webhooks"], { signal }),
      pulse.admin ? get(["webhooks"], { signal }) : { endpoints: [] },
    ]);
  } catch (error) {
    if (signal.aborted) return;
    const words = inWords(error);
    const unknown = error.status === 404;
    fill(
      body,
      back,
      el("p", { class: unknown ? "verdict" : "problem", role: "alert" }, words, unknown && "."),
      unknown
        ? el("p", { class: "aside" }, "Ids and references are looked for exactly as they are written.")
        : el("div", { class: "actions" }, button("Ask again", () => again(), { id: "story-again" })),
    );
    return;
  }
  const { notification, notificationId } = story;
  const name = story.reference ?? notification.title ?? notification.message;
  entitle(cut(name, 60), text(cut(name, 120)));
  const said = el("p", { class: "said", role: "status" });

  const actions = [button("Ask again", () => again(), { id: "story-again", kind: "quiet" })];
  if (story.status === "scheduled" || story.status === "failed") {
    const label = story.status === "scheduled" ? "Cancel it" : "Withdraw it";
    actions.push(button(label, () => cancel(), { kind: "danger", id: "story-cancel" }));
  }
  async function cancel() {
    const scheduled = story.status === "scheduled";
    const sure = await confirm({
      title: scheduled ? "Cancel this notification?" : "Withdraw this notification?",
      words: scheduled
        ? "It is not released when its time comes. Its key and its reference stay used."
        : "It goes from the inboxes of whoever did not take it; nobody is sent it when they come back.",
      act: scheduled ? "Cancel it" : "Withdraw it",
      danger: true,
    });
    if (!sure) return;
    try {
      await remove(["notifications", notificationId]);
      await again("heading");
      body.querySelector(".said").textContent = scheduled ? "It was cancelled." : "It was withdrawn.";
    } catch (error) {
      said.textContent = inWords(error);
    }
  }

  fill(
    body,
    back,
    el("div", {}, el("div", { class: "verdict" }, explained(story)), el("div", { class: "actions" }, actions, said)),
    el(
      "section",
      { class: "letter", "aria-label": "As its receivers see it", data: { severity: severityOf(notification) } },
      parts(notification, { heading: "h2" }),
    ),
    facts([
      ["Status", outcomeMark(story.status)],
      ["Kind", story.kind],
      ["Published by", text(story.publisher)],
      ["Accepted", time(story.createdAt)],
      ["Event id", story.eventId && el("code", {}, story.eventId)],
      ["Reference", story.reference],
      ["Due", time(story.deliverAt)],
      ["Expires", time(story.expiresAt)],
      ["Cancelled", story.cancelledAt && [time(story.cancelledAt), " by ", text(story.cancelledBy ?? "")]],
    ]),
    recipients(story),
    told(webhooks, endpoints, notificationId, signal, pulse),
  );
}

// ---------------------------------------------------------------- in words

function explained({ status, deliverAt, cancelledAt, cancelledBy, deliveries, kind }) {
  if (!deliveries.length) {
    if (status === "cancelled") return el("p", {}, `It was cancelled at ${moment(cancelledAt)} by ${cancelledBy}, before it was released. Nobody has it.`);
    return el("p", {}, `It is held back until ${moment(deliverAt)}. Nobody has it yet.`);
  }
  const sorted = inOrder(deliveries);
  const counts = ORDER.map((outcome) => [outcome, deliveries.filter((one) => one.outcome === outcome).length]).filter(([, n]) => n);
  const all = counts.map(([outcome, n]) => `${count(n)} ${SAID[outcome]}`).join(", ");
  const head =
    deliveries.length === 1
      ? null
      : el("p", {}, `It was for ${many(deliveries.length, "recipient")}: ${counts.length === 1 ? ALL[counts[0][0]] : all}.`);
  const wrong = sorted.filter(({ outcome }) => outcome !== "sent");
  const worth = wrong.length ? wrong : sorted.slice(0, 1);
  const sentences = deliveries.length > 1 && !wrong.length ? [] : worth.slice(0, EXPLAINED).map((one) => el("li", {}, why(one, kind)));
  return [
    head,
    sentences.length > 0 && el("ul", { class: "reasons" }, sentences),
    worth.length > EXPLAINED && el("p", {}, `And ${count(worth.length - EXPLAINED)} more, below.`),
  ].filter(Boolean);
}

const SAID = { failed: "did not take it", cancelled: "had it withdrawn", expired: "came too late", processing: "being asked after", pending: "owed it", sent: "got it" };
const ALL = {
  failed: "none took it",
  cancelled: "it was withdrawn from all",
  expired: "all came too late",
  processing: "all are being asked after",
  pending: "all are owed it",
  sent: "all got it",
};

const inOrder = (deliveries) => [...deliveries].sort((a, b) => ORDER.indexOf(a.outcome) - ORDER.indexOf(b.outcome));

/** Why it stands so with one recipient, and what happens next. */
export function why({ recipient: to, outcome, reason, attempts, changedAt, nextAt, streams }) {
  const who = el("b", {}, text(sentence(recipient(to))));
  const because = [reason, streams && ` (${count(streams.live)} at once, ${count(streams.behind)} from the log)`];
  const tried = attempts > 1 ? ` It was tried ${many(attempts, "time")}.` : "";
  const at = changedAt && [" (", time(changedAt), ")"];
  const next = {
    failed: ` Nobody is asked any more; it is theirs when they come back.`,
    pending: nextAt ? [" Asked after again at ", time(nextAt), "."] : "",
    processing: " Somebody is asking after it at this moment.",
    expired: " It does not come any more.",
    cancelled: " It does not come any more.",
  }[outcome];
  // Nobody is asked whether everyone has it.
  const verb = { sent: to.kind === "everyone" ? "was sent it: " : "got it: ", failed: "did not get it: ", pending: "is owed it: ", processing: "is owed it: ", expired: "did not get it: ", cancelled: "did not get it: " }[outcome] ?? `${outcome}: `;
  return [who, " ", verb, because, at, ".", tried, next];
}

// ---------------------------------------------------------------- who, and which webhooks

function recipients({ deliveries }) {
  if (!deliveries.length) return null;
  const sorted = inOrder(deliveries);
  const rows = table({
    caption: "Who it was for",
    columns: [
      { head: "Recipient", cell: (row) => whose(row.recipient) },
      { head: "Outcome", cell: (row) => outcomeMark(row.outcome) },
      { head: "Tries", cell: ({ attempts }) => count(attempts), kind: "number" },
      { head: "Why", cell: ({ reason, streams }) => [text(reason), streams && ` (${count(streams.live)} at once, ${count(streams.behind)} from the log)`], kind: "wide" },
      { head: "Changed", cell: ({ changedAt }) => time(changedAt) },
      { head: "Asked after next", cell: ({ nextAt }) => time(nextAt) },
    ],
  });
  const list = listing({
    what: "recipient",
    into: rows,
    empty: null,
    load: async (from = 0) => ({ rows: sorted.slice(from, from + PAGE), next: from + PAGE < sorted.length ? from + PAGE : null }),
  });
  list.show();
  return el("section", { "aria-label": "Who it was for" }, list.element);
}

function whose(to_) {
  const words = text(recipient(to_));
  return to_.kind === "everyone" ? words : roomLink(to("deliveries", [], { [to_.kind]: to_.id }), words);
}

/** By its address, where that is known. */
function endpointNamed(id, endpoints, pulse) {
  const known = endpoints.find((one) => one.id === id);
  const name = known ? text(known.url) : el("code", { title: id }, tail(id));
  return pulse.admin ? roomLink(to("webhooks", [id]), name) : name;
}

function told(webhooks, endpoints, notificationId, signal, pulse) {
  if (!webhooks.length) return el("p", { class: "aside" }, "No webhook told of it.");
  const said = el("p", { class: "said", role: "status" });
  const rows = table({
    caption: "Webhooks that told of it",
    columns: [
      { head: "Endpoint", cell: ({ endpointId }) => endpointNamed(endpointId, endpoints, pulse) },
      { head: "Status", cell: ({ status }) => outcomeMark(status) },
      { head: "Tries", cell: ({ attempts }) => count(attempts), kind: "number" },
      { head: "Answer", cell: answered, kind: "wide" },
      { head: "Changed", cell: ({ changedAt }) => time(changedAt) },
      { head: "Next try", cell: ({ nextAt }) => time(nextAt) },
      pulse.admin && { head: "To do", cell: ({ id, status }) => ["sent", "failed"].includes(status) && button("Send again", () => again(id)), kind: "act" },
    ].filter(Boolean),
  });
  rows.add(webhooks);
  rows.element.setAttribute("tabindex", "-1");
  async function again(id) {
    try {
      await post(["webhooks", "deliveries", id, "redeliver"]);
      const fresh = await get(["notifications", notificationId, "webhooks"], { signal });
      rows.clear();
      rows.add(fresh.webhooks);
      rows.element.focus();
      said.textContent = "It waits to be sent again.";
    } catch (error) {
      said.textContent = inWords(error);
    }
  }
  return el("section", { "aria-label": "Webhooks" }, rows.element, said);
}
