// What rings here: the notifications that come to whoever is signed in, as they come, and how long each took.

import { quoted } from "./curl.js";
import { button, el, fill } from "./dom.js";
import { copyable } from "./dialog.js";
import { parts, severityOf } from "./notice.js";
import { span } from "./words.js";

/** How many are kept in sight. */
const SHOWN = 200;
/** What is read out waits this long for company, and so long for the one before. */
const ANNOUNCE_MS = 1_000;
const QUIET_MS = 8_000;
/** Own sendings whose notification has not come yet; those to others never do. */
const SENDINGS = 50;

const list = el("ol", { id: "notifications", tabindex: "-1", "aria-labelledby": "rung-heading" });
const shown = el("span", { class: "aside", id: "shown" });
const clear = button("Clear", () => forget(), { kind: "quiet", hidden: true });
const example = copyable("", { id: "example" });
const empty = el(
  "div",
  { class: "empty" },
  el("p", {}, "Nothing has come yet. Send a test, or from a terminal:"),
  example,
);
const caveat = el(
  "p",
  { class: "caveat", hidden: true },
  "How long it took: what you send yourself is timed on this computer alone. For the rest, the hub’s clock is compared with this computer’s.",
);
const announcer = el("p", { class: "unseen", role: "status" });

/** The section, which the rooms Now and Send have beside them. */
export const section = el(
  "section",
  { class: "rung", "aria-labelledby": "rung-heading" },
  el("div", { class: "head" }, el("h2", { id: "rung-heading" }, "Notifications"), shown, clear),
  empty,
  list,
  caveat,
  announcer,
);

/** Tells of notifications that came: `came`, with the time since it was sent from this page, if it was. */
export const rung = new EventTarget();

/** By id, the moment Send was pressed: for what has been accepted and is not here yet. */
const sendings = new Map();

/** One has come. */
export function received(notification, { timestamp }) {
  const { notificationId, title, message } = notification;
  const arrivedAt = performance.now();
  const now = new Date();
  const took = el("span", { class: "took" });
  const severity = severityOf(notification);
  const when = el("time", { datetime: now.toISOString() }, now.toLocaleTimeString("en-GB"));
  const item = el(
    "li",
    { data: { id: notificationId, severity, arrivedAt: String(arrivedAt) } },
    parts(notification, { heading: "h3", time: when, foot: took, linked: true }),
  );
  const sentAt = sendings.get(notificationId);
  sendings.delete(notificationId);
  if (sentAt === undefined) took.textContent = sinceMade(now - timestamp);
  else showTook(item, arrivedAt - sentAt);
  show(item);
  announce(`${severity}: ${title ? `${title}. ` : ""}${message}`);
}

/**
 * One was accepted that this page sent. It may have come before the answer to its sending, or is still to come.
 *
 * @param {string} id
 * @param {number} sentAt by `performance.now()`
 */
export function expects(id, sentAt) {
  const item = list.querySelector(`[data-id="${CSS.escape(id)}"]`);
  if (item) {
    showTook(item, item.dataset.arrivedAt - sentAt);
    return;
  }
  sendings.set(id, sentAt);
  if (sendings.size > SENDINGS) sendings.delete(sendings.keys().next().value);
}

/** A word between the notifications. */
export function note(words) {
  show(el("li", { class: "note" }, words));
  announce(words);
}

/** Whose stream it is; another's notifications go. */
export function belongsTo(user) {
  forget();
  example.say(`campanile send --user ${/^[\w.@-]+$/.test(user) ? user : quoted(user)} --message "Hello"`);
}

function forget() {
  fill(list);
  showHowMany();
}

function showTook(item, ms) {
  item.querySelector(".took").textContent = `${span(ms)} after sending`;
  rung.dispatchEvent(new CustomEvent("came", { detail: ms }));
}

function sinceMade(ms) {
  if (!Number.isFinite(ms)) return "";
  return ms < 0 ? `clocks differ by ${span(-ms)}` : `in ${span(ms)}`;
}

function show(item) {
  list.prepend(item);
  while (list.children.length > SHOWN) list.lastElementChild.remove();
  showHowMany();
}

function showHowMany() {
  const many = list.children.length;
  empty.hidden = many > 0;
  clear.hidden = caveat.hidden = many === 0;
  shown.textContent = many === SHOWN ? `the newest ${SHOWN}` : many > 0 ? "as they came" : "";
}

/** One at a time is read out; of a burst, the first and how many. */
let first = "";
let unsaid = 0;
let quietUntil = 0;
function announce(words) {
  unsaid += 1;
  if (unsaid > 1) return;
  first = words.slice(0, 200);
  const wait = Math.max(ANNOUNCE_MS, quietUntil - performance.now());
  setTimeout(() => {
    announcer.textContent = unsaid > 1 ? `${unsaid} have come. The first: ${first}` : first;
    unsaid = 0;
    quietUntil = performance.now() + QUIET_MS;
  }, wait);
}
