// The console: what the hub is doing, a form to send, and the notifications as they come. It is written with the same
// client that every other page gets, so that whatever it shows, others can have.
//
// Everything a notification says is put in with textContent, and a link only after its scheme was read: a notification
// is a stranger's text. Whether a draft is right is for the hub alone to say; the page shows its answer by the field.

import { connect } from "../campanile.js";

const SHOWN = 200;
const POLL_MS = 2_000;
const POLL_MAX_MS = 30_000;
const ANSWER_MS = 15_000;
const ANNOUNCE_MS = 1_000;
/** Own sendings whose notification has not come yet; those to others never do. */
const SENDINGS = 50;

const $ = (id) => document.getElementById(id);
/** Relative to the page, so that a hub mounted under a path of another application works too. */
const api = (path) => new URL(`notifications${path}`, document.baseURI);

// ---------------------------------------------------------------- numbers and times in words

const whole = new Intl.NumberFormat("en");
const count = (n) => (typeof n === "number" ? whole.format(n) : "–");
const many = (n, one, more = `${one}s`) => `${count(n)} ${n === 1 ? one : more}`;

function span(ms) {
  if (ms < 1) return "under 1 ms";
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1_000).toFixed(ms < 10_000 ? 1 : 0)} s`;
  const minutes = Math.floor(ms / 60_000);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

// ---------------------------------------------------------------- the connection

let user;
let retryAt = 0;
let waitingFor = "";
let countdown;

const reasons = {
  network: "The hub cannot be reached.",
  ended: "The stream was cut.",
  silent: "The hub fell silent.",
  "not-a-stream": "Something else answers at this address.",
  malformed: "The stream could not be read.",
  draining: "The hub is restarting.",
  reauth: "Time to prove who you are again.",
  "token-expired": "Your sign-in has run out.",
  revoked: "Your sign-in was withdrawn.",
  busy: "The hub has too many streams.",
};

function showState({ state, retryInMs, reason, error }) {
  $("connection").dataset.state = state;
  clearInterval(countdown);
  if (state === "open") {
    $("state-text").textContent = "Connected";
  } else if (state === "connecting") {
    $("state-text").textContent = "Connecting";
    $("state-detail").textContent = waitingFor || "Asking the hub for a stream.";
  } else if (state === "waiting") {
    $("state-text").textContent = "Reconnecting";
    waitingFor = reasons[reason] ?? error?.message ?? "The stream ended.";
    retryAt = performance.now() + retryInMs;
    showCountdown();
    countdown = setInterval(showCountdown, 1_000);
  } else {
    const signedOut = reason === "unauthorized";
    $("state-text").textContent = signedOut ? "Not signed in" : "Closed";
    $("state-detail").textContent = signedOut ? "The hub does not know you." : "";
    if (signedOut) askToSignIn(true);
  }
}

function showCountdown() {
  const seconds = Math.max(1, Math.ceil((retryAt - performance.now()) / 1_000));
  $("state-detail").textContent = `${waitingFor} Next try in ${seconds} s.`;
}

function askToSignIn(needed) {
  $("sign-in").hidden = !needed;
  document.body.classList.toggle("signed-out", needed);
}

function connected({ userId, roles, broadcastsMissed }) {
  waitingFor = "";
  askToSignIn(false);
  if (userId !== user) {
    $("notifications").replaceChildren();
    showHowMany();
    if (!$("target").value || $("target").value === user) $("target").value = userId;
    $("example-user").textContent = userId;
    user = userId;
  }
  $("state-detail").textContent = `as ${userId}${roles.length ? `, ${roles.join(", ")}` : ""}`;
  if (broadcastsMissed) note("Some broadcasts went by while this page was away; they are kept for an hour.");
  poll();
}

const hub = connect({
  url: api("/stream"),
  onState: showState,
  onConnected: connected,
  onNotification: received,
  onStatus({ unread }) {
    $("unread").textContent = typeof unread === "string" ? unread : count(unread);
    document.title = unread ? `(${unread}) Campanile` : "Campanile";
  },
  onGap({ scope }) {
    note(
      scope === "epoch"
        ? "The hub's log was begun anew: what came before may be missing here."
        : "Too much came while this page was away: what is missing here is in the inbox.",
    );
  },
});

$("try-now").addEventListener("click", () => hub.reconnect());
$("sign-in-retry").addEventListener("click", () => hub.reconnect());
document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  // The link may just have been opened in another tab.
  if (hub.state === "closed") hub.reconnect();
  poll();
});

// ---------------------------------------------------------------- the notifications

/** By id, the moment Send was pressed: for what has been accepted and is not here yet. */
const sendings = new Map();

function received(notification, { timestamp }) {
  const { notificationId, message, title, details, severity, module, actionType, link } = notification;
  const arrivedAt = performance.now();
  const now = new Date();
  const item = $("notification-template").content.firstElementChild.cloneNode(true);
  const part = (name) => item.querySelector(name);
  const fill = (name, text) => (text ? (part(name).textContent = text) : part(name).remove());

  item.dataset.id = notificationId;
  item.dataset.arrivedAt = arrivedAt;
  item.dataset.severity = severity ?? "medium";
  part(".severity").textContent = item.dataset.severity;
  part(".about").textContent = [module, actionType].filter(Boolean).join(" · ");
  part("time").dateTime = now.toISOString();
  part("time").textContent = now.toLocaleTimeString("en-GB");
  fill(".title", title);
  fill(".message", message);
  fill(".details", details);
  fill(".link", safe(link) && link);
  if (part(".link")) part(".link").href = safe(link);
  part(".id").textContent = notificationId;
  const sentAt = sendings.get(notificationId);
  sendings.delete(notificationId);
  if (sentAt === undefined) part(".took").textContent = sinceMade(now - timestamp);
  else showTook(item, arrivedAt - sentAt);

  show(item);
  announce(`${item.dataset.severity}: ${title ? `${title}. ` : ""}${message}`);
  ring();
}

/** Beside the form too: on a phone the list is out of sight. */
function showTook(item, ms) {
  item.querySelector(".took").textContent = `${span(ms)} after sending`;
  $("outcome").textContent = `Here ${span(ms)} after sending.`;
}

function sinceMade(ms) {
  if (!Number.isFinite(ms)) return "";
  return ms < 0 ? `clocks differ by ${span(-ms)}` : `in ${span(ms)}`;
}

function safe(link) {
  if (typeof link !== "string" || !URL.canParse(link, document.baseURI)) return null;
  const { protocol, href } = new URL(link, document.baseURI);
  return protocol === "https:" || protocol === "http:" ? href : null;
}

function note(text) {
  const item = document.createElement("li");
  item.className = "note";
  item.textContent = text;
  show(item);
  announce(text);
}

function show(item) {
  const list = $("notifications");
  list.prepend(item);
  while (list.children.length > SHOWN) list.lastElementChild.remove();
  showHowMany();
}

function showHowMany() {
  const shown = $("notifications").children.length;
  $("empty").hidden = shown > 0;
  $("shown").textContent = shown === SHOWN ? `the newest ${SHOWN}` : shown > 0 ? "newest first" : "";
}

/** One at a time is read out; of a burst, how many. */
let unannounced = [];
function announce(text) {
  if (unannounced.length === 0) {
    setTimeout(() => {
      const [only, another] = unannounced;
      $("announcer").textContent = another === undefined ? only : `${unannounced[0]} And more have come.`;
      unannounced = [];
    }, ANNOUNCE_MS);
  }
  if (unannounced.length < 2) unannounced.push(text.slice(0, 200));
}

const still = matchMedia("(prefers-reduced-motion: reduce)");
let ringing;
function ring() {
  if (still.matches || ringing?.playState === "running") return;
  const swing = [0, 14, -11, 7, -4, 0].map((degrees) => ({ transform: `rotate(${degrees}deg)` }));
  ringing = $("bell").animate(swing, { duration: 1_100, easing: "ease-out" });
}

// ---------------------------------------------------------------- sending

const fields = [
  [/^(target|audience|everyone)/, "target"],
  [/^severity/, "severity"],
  [/^title/, "title"],
  [/^message/, "message"],
];

function draft() {
  const target = $("target").value.trim();
  const audience = {
    user: { targetUserId: target },
    role: { targetRoles: [target] },
    everyone: { everyone: true },
  }[$("audience").value];
  const title = $("title").value.trim();
  return { ...audience, severity: $("severity").value, message: $("message").value, ...(title && { title }) };
}

let sending = false;
async function send(path, body) {
  if (sending) return;
  sending = true;
  $("send").setAttribute("aria-busy", "true");
  clearErrors();
  $("outcome").textContent = "Sending";
  const sentAt = performance.now();
  try {
    const response = await fetch(api(path), {
      method: "POST",
      headers: { "content-type": "application/json", accept: "application/json" },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(ANSWER_MS),
    });
    const answer = await response.json().catch(() => ({}));
    if (response.ok) {
      accepted(answer, sentAt, performance.now());
      return true;
    }
    $("outcome").textContent = "";
    if (response.status === 401) askToSignIn(true);
    showProblem(answer, response.status);
  } catch {
    $("outcome").textContent = "";
    $("error").textContent = "No answer from the hub. It may have been sent all the same: look for it before you send it again.";
  } finally {
    sending = false;
    $("send").removeAttribute("aria-busy");
  }
}

/** The notification may have come before this answer to its sending, or is still to come. */
function accepted({ notificationId }, sentAt, answeredAt) {
  $("outcome").textContent = `Accepted after ${span(answeredAt - sentAt)}.`;
  if (!notificationId) return;
  const item = document.querySelector(`#notifications > [data-id="${CSS.escape(notificationId)}"]`);
  if (item) {
    showTook(item, item.dataset.arrivedAt - sentAt);
    return;
  }
  sendings.set(notificationId, sentAt);
  if (sendings.size > SENDINGS) sendings.delete(sendings.keys().next().value);
}

function clearErrors() {
  $("error").textContent = "";
  for (const [, name] of fields) {
    $(name).removeAttribute("aria-invalid");
    $(`${name}-error`).textContent = "";
  }
}

/** A problem document (RFC 9457): what belongs to a field beside it, the rest below the form. */
function showProblem({ title, detail, errors }, status) {
  const rest = [];
  for (const { field = "", message = "" } of Array.isArray(errors) ? errors : []) {
    const [, name] = fields.find(([pattern]) => pattern.test(field)) ?? [];
    if (!name || $(name).disabled) {
      rest.push(`${field}: ${message}`);
      continue;
    }
    $(`${name}-error`).textContent = message;
    $(name).setAttribute("aria-invalid", "true");
  }
  const headline = [title ?? `The hub answered ${status}`, detail].filter(Boolean).join(": ");
  $("error").textContent = [headline, ...rest].join(". ");
  document.querySelector("#send [aria-invalid]")?.focus();
}

$("send").addEventListener("submit", async (event) => {
  event.preventDefault();
  const done = await send("", draft());
  if (!done) return;
  $("title").value = $("message").value = "";
  $("message").focus();
});
$("test-button").addEventListener("click", () => send("/test", {}));
$("message").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) $("send").requestSubmit();
});

/** What was typed for each kind of audience comes back when one changes to and fro. */
const typed = {};
let audience = $("audience").value;
function changeAudience() {
  typed[audience] = $("target").value;
  audience = $("audience").value;
  const everyone = audience === "everyone";
  $("target-label").textContent = audience === "role" ? "Role" : "User";
  $("target").disabled = everyone;
  $("target").placeholder = everyone ? "everyone" : "";
  $("target").value = everyone ? "" : (typed[audience] ?? (audience === "user" ? (user ?? "") : ""));
  $("target").setAttribute("list", audience === "role" ? "known-roles" : "known-users");
  clearErrors();
}
$("audience").addEventListener("change", changeAudience);
if (audience !== "user") changeAudience(); // a browser that restores forms

// ---------------------------------------------------------------- the counts

let polling;
let pollTimer;
let pollDelayMs = POLL_MS;

async function poll() {
  clearTimeout(pollTimer);
  if (document.hidden || polling || hub.state === "closed") return;
  polling = true;
  try {
    const signal = AbortSignal.timeout(ANSWER_MS);
    const response = await fetch(api("/status"), { headers: { accept: "application/json" }, cache: "no-store", signal });
    if (!response.ok) throw new Error(`status ${response.status}`);
    showCounts((await response.json()).hubs ?? []);
    pollDelayMs = POLL_MS;
    document.body.classList.remove("stale");
  } catch {
    pollDelayMs = Math.min(pollDelayMs * 2, POLL_MAX_MS);
    document.body.classList.add("stale");
    if ($("hub-note").textContent) $("hub-note").textContent = "counts as they were";
  } finally {
    polling = false;
    pollTimer = setTimeout(poll, pollDelayMs);
  }
}

/** Sums over the hubs; a field that no hub gives stays a dash. */
function showCounts(hubs) {
  const read = (path) => hubs.map((one) => path.split(".").reduce((at, key) => at?.[key], one));
  const sum = (path) => read(path).reduce((all, n) => (typeof n === "number" ? (all ?? 0) + n : all), undefined);
  const merged = (path) => {
    const all = new Map();
    for (const group of read(path)) {
      for (const [key, n] of Object.entries(group ?? {})) all.set(key, (all.get(key) ?? 0) + n);
    }
    return [...all].sort(([, a], [, b]) => b - a);
  };
  const put = (id, path, text) => {
    $(id).textContent = count(sum(path));
    $(`${id}-note`).textContent = text ?? "";
  };
  const unlessMissing = (path, text) => (sum(path) === undefined ? "" : text(sum(path)));

  const roles = merged("streams.byRole");
  put("streams", "streams.total", unlessMissing("streams.users", (n) => many(n, "user")));
  $("roles").textContent = roles.slice(0, 12).map(([role, n]) => `${role} ${count(n)}`).join(" · ");
  const oldest = Math.max(0, ...read("queue.oldestMs").filter(Number.isFinite));
  put("queue", "queue.depth", sum("queue.depth") ? `oldest ${span(oldest)}` : unlessMissing("queue.depth", () => "nothing waits"));
  put("failed", "queue.failed", unlessMissing("queue.pending", (n) => `${count(n)} pending`));
  put("delivered", "counts.delivered", unlessMissing("counts.published", (n) => `${count(n)} published`));
  put("stored", "stored.notifications", unlessMissing("stored.broadcasts", (n) => many(n, "broadcast")));
  $("failed").classList.toggle("bad", sum("queue.failed") > 0);

  suggest("known-users", merged("streams.byUser"));
  suggest("known-roles", roles);
  const [first] = hubs;
  $("hub-note").textContent = [
    hubs.length > 1 ? `${hubs.length} hubs` : first?.version && `version ${first.version}`,
    first?.uptimeSeconds !== undefined && `up ${span(first.uptimeSeconds * 1_000)}`,
    hubs.some(({ draining }) => draining) && "draining",
  ]
    .filter(Boolean)
    .join(" · ");
}

function suggest(id, entries) {
  const values = entries.slice(0, 50).map(([value]) => value);
  if (values.join("\n") === [...$(id).children].map((option) => option.value).join("\n")) return;
  $(id).replaceChildren(...values.map((value) => new Option(value, value)));
}

poll();
