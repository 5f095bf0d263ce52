// The console: a tower of rooms, one for each thing an operator asks. This is its shell: who is signed in, whether the
// stream stands, what each storey of the tower counts, and which room is open.
//
// It is written with the same client that every other page gets, so that whatever it shows, others can have.

import { connect } from "../campanile.js";
import { Refusal, address, session } from "./api.js";
import { dropQuestions } from "./dialog.js";
import { el, fill } from "./dom.js";
import { deliveries } from "./deliveries.js";
import { duplicates } from "./duplicates.js";
import { inbox } from "./inbox.js";
import { keys } from "./keys.js";
import { now } from "./now.js";
import { pulse } from "./pulse.js";
import { queue } from "./queue.js";
import { reminders } from "./reminders.js";
import { here } from "./route.js";
import * as rung from "./rung.js";
import { send } from "./send.js";
import { showConnection } from "./connection.js";
import { showCounts } from "./storeys.js";
import { webhooks } from "./webhooks.js";

const rooms = [now, send, deliveries, inbox, queue, reminders, webhooks, duplicates, keys];
const $ = (id) => document.getElementById(id);

/** Whoever is signed in, as the stream said; null before. */
let user = null;

// ---------------------------------------------------------------- the stream

const hub = connect({
  url: address(["notifications", "stream"]),
  onState(change) {
    showConnection(change);
    if (change.state === "closed" && change.reason === "unauthorized") signedOut();
  },
  onConnected({ userId, roles, broadcastsMissed }) {
    $("state-detail").textContent = `as ${userId}${roles.length ? `, ${roles.join(", ")}` : ""}`;
    document.body.classList.remove("signed-out");
    $("sign-in").hidden = true;
    if (userId !== user) {
      user = userId;
      pulse.forget();
      rung.belongsTo(userId);
      openWhenKnown();
    }
    if (broadcastsMissed) rung.note("Some broadcasts went by while this page was away; they are kept for an hour.");
    pulse.start();
  },
  onNotification(notification, message) {
    rung.received(notification, message);
    ring();
  },
  onStatus({ unread }) {
    showUnread(unread);
  },
  onGap({ scope }) {
    rung.note(
      scope === "epoch"
        ? "The hub’s log was begun anew: what came before may be missing here."
        : "Too much came while this page was away: what is missing here is in the inbox.",
    );
  },
});

function signedOut() {
  pulse.stop();
  document.body.classList.add("signed-out");
  $("sign-in").hidden = false;
}

session.addEventListener("signed-out", () => {
  // The client finds out by itself, and says so; it may be between two streams.
  if (hub.state === "open") hub.reconnect();
  signedOut();
});
$("try-now").addEventListener("click", () => hub.reconnect());
$("sign-in-retry").addEventListener("click", () => hub.reconnect());
document.addEventListener("visibilitychange", () => {
  // The link may just have been opened in another tab.
  if (!document.hidden && hub.state === "closed") hub.reconnect();
});

const still = matchMedia("(prefers-reduced-motion: reduce)");
let ringing;
function ring() {
  if (still.matches || ringing?.playState === "running") return;
  const swing = [0, 14, -11, 7, -4, 0].map((degrees) => ({ transform: `rotate(${degrees}deg)` }));
  ringing = $("bell").animate(swing, { duration: 1_100, easing: "ease-out" });
}

// ---------------------------------------------------------------- what the tower counts

let unread;
function showUnread(count) {
  unread = count;
  $("unread").textContent = count;
  $("unread-note").textContent = count === 0 ? "all read" : "unread";
  showTitle();
}

for (const event of ["status", "look", "stale"]) {
  pulse.addEventListener(event, () => showCounts(pulse));
}

// ---------------------------------------------------------------- the rooms

let leaving = new AbortController();
let title = "Now";

function showTitle() {
  document.title = `${unread ? `(${unread}) ` : ""}${title} · Campanile`;
}

/** What somebody may open is not known before the hub has said who they are. */
function openWhenKnown() {
  if (pulse.status) open();
  else pulse.addEventListener("status", () => open(), { once: true });
}

/**
 * Opens the room that the address says. A room is `{name, title, needs, open}`; `open` builds into the element that it
 * is given, and stops what it began when `signal` is aborted.
 */
function open({ focus = false } = {}) {
  if (!user || !pulse.status) return;
  leaving.abort();
  leaving = new AbortController();
  const { signal } = leaving;
  const { room: name, segments, query } = here();
  const room = rooms.find((one) => one.name === name) ?? now;
  const heading = el("h1", { id: "heading", tabindex: "-1" }, room.title);
  const body = el("div", { class: "body" });
  const entitle = (words, shown = words) => {
    title = words;
    fill(heading, shown);
    showTitle();
  };
  entitle(room.title);
  document.body.dataset.room = room.name;
  for (const link of document.querySelectorAll("#rooms a")) {
    if (link.dataset.room === room.name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  closeMenu();
  dropQuestions();
  fill($("room"), heading, body);
  fill($("beside"));
  $("side").hidden = !room.beside;
  if (focus) {
    scrollTo(0, 0);
    heading.focus({ preventScroll: true });
  }
  if (!allowed(room)) {
    fill(body, locked(room));
    return;
  }
  const opened = room.open({ body, beside: $("beside"), entitle, segments, query, signal, user, pulse });
  Promise.resolve(opened).catch((error) => {
    if (signal.aborted) return;
    if (!(error instanceof Refusal)) throw error;
    body.append(el("p", { class: "problem", role: "alert" }, error.message));
  });
}

const allowed = ({ needs }) => !needs || pulse.admin || (needs === "publish" && pulse.publishes);

function locked({ needs, why }) {
  return el(
    "div",
    { class: "notice", id: "locked" },
    el("h2", {}, `This room takes the scope ${needs}`),
    el("p", {}, why),
    el(
      "p",
      {},
      `You are signed in as ${user}, without it. On the machine that runs the hub, `,
      el("code", {}, "campanile console"),
      " prints a link that opens the console as an administrator.",
    ),
  );
}

addEventListener("hashchange", () => open({ focus: true }));

// ---------------------------------------------------------------- getting about

/** The address is taken by the rooms, so the link does by hand what it says. */
$("skip").addEventListener("click", (event) => {
  event.preventDefault();
  const target = $("sign-in").hidden ? document.getElementById("heading") : $("sign-in-heading");
  target?.focus();
});

function closeMenu() {
  $("menu").setAttribute("aria-expanded", "false");
}
$("menu").addEventListener("click", () => {
  const open = $("menu").getAttribute("aria-expanded") === "true";
  $("menu").setAttribute("aria-expanded", String(!open));
});
$("rooms").addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || $("menu").getAttribute("aria-expanded") !== "true") return;
  closeMenu();
  $("menu").focus();
});

$("side").append(rung.section);
