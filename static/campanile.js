// What it promises, and how it does so: campanile.d.ts.

const BASE_DELAY_MS = 1_000;
const MAX_DELAY_MS = 30_000;
const MAX_ASKED_MS = 600_000; // a slip in a header must not silence a page for a day
const HEARTBEAT_SECONDS = 15;
const SILENCE_MS = 2_200;
const ANSWER_MS = 2_000;
const SEEN_IDS = 1_000;
const MAX_EVENT_LENGTH = 1 << 20;
const INBOX_TRIES = 5;
const AGAIN = {};

export class CampanileError extends Error {
  name = "CampanileError";

  constructor(code, message, details) {
    super(message);
    Object.assign(this, { code, retryAfterMs: 0, fatal: false }, details);
  }
}

export class EventStreamParser {
  retry;
  lastEventId;
  #rest = "";
  #type = "";
  #data = "";
  #id;

  constructor(lastEventId = "") {
    this.lastEventId = this.#id = lastEventId;
  }

  *push(text) {
    const lines = (this.#rest + text).split(/\r\n|\n|\r(?!$)/); // a last CR may be half a line's end
    this.#rest = lines.pop();
    for (const line of lines) {
      const [, name, value] = /^([^:]*):? ?(.*)/s.exec(line);
      if (name === "data") this.#data += `${value}\n`;
      else if (name === "event") this.#type = value;
      else if (name === "id" && isPrintable(value)) this.#id = value;
      else if (name === "retry" && /^\d+$/.test(value)) this.retry = Math.min(value, MAX_ASKED_MS);
      if (line) continue;
      const [type, data] = [this.#type || "message", this.#data];
      const lastEventId = (this.lastEventId = this.#id);
      this.#type = this.#data = "";
      if (data) yield { type, data: data.slice(0, -1), lastEventId };
    }
    if (this.#rest.length + this.#data.length > MAX_EVENT_LENGTH) {
      throw new CampanileError("malformed", "An event is longer than 1 MiB.");
    }
  }
}

function hubFor({ url = "/notifications/stream", token, getToken = () => token, transport, withCredentials }) {
  url = new URL(url, globalThis.location?.href);
  const base = new URL(".", url).href.slice(0, -1);
  const credentials = withCredentials ? "include" : "same-origin";
  let bearer;

  async function ask(url, init, anew) {
    for (let refused = false; ; refused = true) {
      if (anew || refused || !bearer) {
        bearer = await Promise.resolve({ refused }).then(getToken).catch(failWith("token", "getToken failed."));
      }
      const headers = { ...init.headers };
      if (bearer) headers.authorization = `Bearer ${bearer}`;
      const response = await fetch(url, { ...init, headers, credentials, cache: "no-store" }).catch(networkFailed);
      const { status } = response;
      if (init.method ? response.ok : status === 200) return response;
      const retryAfterMs = askedBy(response.headers.get("retry-after"));
      if (status !== 401) throw new CampanileError("status", `The hub answered ${status}.`, { status, retryAfterMs });
      if (refused) throw new CampanileError("unauthorized", "Refused twice: sign in again, then reconnect().", { status });
    }
  }

  return {
    url: url.href,

    async open(lastEventId, signal) {
      if (transport === "eventsource") {
        const route = new URL(url);
        route.pathname += "/ticket";
        const { ticket } = await (await ask(route, { method: "POST", signal }, true)).json();
        route.pathname = url.pathname;
        route.search += `&${new URLSearchParams({ ticket, lastEventId, events: "unnamed" })}`;
        return textOf(new EventSource(route), signal).getReader();
      }
      const headers = { accept: "text/event-stream" };
      if (lastEventId) headers["last-event-id"] = lastEventId;
      const response = await ask(url, { headers, signal }, true);
      if (!/^text\/event-stream\b/i.test(response.headers.get("content-type"))) {
        throw new CampanileError("not-a-stream", "The answer is not an event stream.");
      }
      return response.body.pipeThrough(new TextDecoderStream()).getReader();
    },

    inbox: async () => (await ask(`${base}?limit=100`, {})).json(),

    async post(path, body) {
      const headers = body && { "content-type": "application/json" };
      await ask(`${base}/${path}`, { method: "POST", headers, body: JSON.stringify(body) });
    },
  };
}

function keepStream(hub, page) {
  const stream = {
    run: null,
    silenceMs: HEARTBEAT_SECONDS * SILENCE_MS,
    notBefore: 0,
    start() {
      if (!stream.run) keep((stream.run = {}));
    },
    stop() {
      stream.run = null;
      failures = stream.notBefore = 0;
      step?.abort();
    },
    wake() {
      if (Date.now() >= wakeAfter) step.abort(AGAIN);
    },
  };
  let failures = 0;
  let retryMs = 0;
  let step, wakeAfter;

  async function keep(run) {
    await null; // so that no handler runs before connect() has returned
    let end = { code: "busy" };
    let retryInMs = stream.notBefore - Date.now();
    while (stream.run === run) {
      const attempt = (step = new AbortController());
      if (retryInMs >= 0) {
        wakeAfter = stream.notBefore;
        page.enter("waiting", end, retryInMs);
        await sleep(retryInMs, attempt.signal);
        retryInMs = -1;
        continue;
      }
      page.enter("connecting");
      end = await hold(run, attempt).catch((end) => end);
      if (stream.run !== run) return;
      if (end.code === "unauthorized") {
        end.fatal = true;
        page.stop(end);
      }
      if (end instanceof Error) page.emit("error", end);
      if (end === AGAIN || stream.run !== run) continue;
      const { retryAfterMs = 0 } = end;
      const floorMs = Math.max(retryAfterMs, retryMs);
      const spanMs = Math.max(BASE_DELAY_MS, Math.min(BASE_DELAY_MS * 2 ** failures++, MAX_DELAY_MS - floorMs));
      stream.notBefore = Date.now() + retryAfterMs;
      retryInMs = floorMs + Math.random() * spanMs;
    }
  }

  async function hold(run, attempt) {
    const { signal } = attempt;
    const parser = new EventStreamParser(page.place());
    let timer;
    const heard = () => {
      clearTimeout(timer);
      timer = setTimeout(() => attempt.abort(new CampanileError("silent", "The hub is silent.")), stream.silenceMs);
      wakeAfter = Date.now() + stream.silenceMs; // timers stand still while a computer sleeps
    };
    heard();
    try {
      const aborted = new Promise((_, reject) => signal.addEventListener("abort", reject));
      const reader = await Promise.race([hub.open(page.place(), signal), aborted]);
      for (;;) {
        const { done, value } = await reader.read().catch(networkFailed);
        if (done) throw new CampanileError("ended", "The stream ended.");
        for (const event of parser.push(value)) {
          if (stream.run !== run) return;
          receive(event, parser);
        }
        if (stream.run !== run) return;
        heard();
        page.reach(parser.lastEventId);
      }
    } catch (error) {
      throw signal.reason ?? error;
    } finally {
      clearTimeout(timer);
      attempt.abort();
      retryMs = parser.retry ?? retryMs;
    }
  }

  function receive({ data, lastEventId }, parser) {
    let message;
    try {
      message = { ...JSON.parse(data) };
    } catch (cause) {
      return page.emit("error", new CampanileError("malformed", "An event is not JSON.", { cause }));
    }
    const { reason, heartbeatSeconds } = (message.data ??= {});
    if (message.type === "bye") {
      const end = { code: reason, retryAfterMs: parser.retry };
      parser.retry = 0; // "busy" for a minute must not become every later delay
      throw end;
    }
    if (message.type === "connected") {
      failures = 0;
      parser.retry ??= BASE_DELAY_MS;
      stream.silenceMs = (heartbeatSeconds || HEARTBEAT_SECONDS) * SILENCE_MS;
    }
    page.receive(message, lastEventId);
  }

  return stream;
}

/** Tabs that the hub, asked by each itself, called by the same user and roles: none hears what is not its. */
function joinTabs(name, page) {
  const channel = new BroadcastChannel(name);
  const tabs = {
    name,
    leading: false,
    say: (word) => channel.postMessage(word),
    /** A frozen leader keeps its lock: it is stolen. */
    doubt(wake) {
      tabs.say({ ask: true, wake });
      tabs.unlessHeard(ANSWER_MS, () => {
        lock.abort();
        stand({ steal: true });
      });
    },
    unlessHeard(ms, act = tabs.doubt) {
      clearTimeout(timer);
      timer = setTimeout(act, ms);
    },
    leave() {
      clearTimeout(timer);
      lock.abort();
      channel.close();
    },
  };
  let lock;
  let timer;

  function stand(options) {
    const { signal } = (lock = new AbortController());
    const lead = () => {
      if (signal.aborted) return;
      clearTimeout(timer);
      tabs.leading = true;
      page.lead();
      return new Promise((release) => signal.addEventListener("abort", release));
    };
    navigator.locks.request(name, options ?? { signal }, lead).catch((error) => {
      if (signal.aborted) return;
      if (error.name !== "AbortError") return lead(); // no locks here: each tab leads itself
      tabs.leading = false; // stolen; it hears from whom, and follows
      stand();
      tabs.doubt();
    });
  }

  channel.onmessage = ({ data }) => page.hear(data);
  stand();
  tabs.doubt();
  return tabs;
}

export function connect(options = {}) {
  const hub = hubFor(options);
  const connection = Object.assign(new EventTarget(), {
    state: "connecting",
    info: null,
    unread: null,
    lastEventId: "",
    close: () => stop({ code: "close" }),
    reconnect() {
      stop();
      start();
    },
    inbox: hub.inbox,
    markRead: (id) => hub.post(`${encodeURIComponent(id)}/read`),
    markAllRead: (upTo) => hub.post("read-all", upTo && { upTo }),
  });
  const place = () => connection.lastEventId;
  const stream = keepStream(hub, { place, reach, receive, enter, emit, stop });
  const key = options.persist === false ? null : `campanile:${hub.url}`;
  const seen = new Set();
  let userId, stored, status, change, life, tabs, pending;
  let gap; // not told yet

  function start() {
    const { signal } = (life = new AbortController());
    const wake = () => isVisible() && (stream.run ? stream.wake() : tabs?.doubt(true));
    for (const type of ["online", "pageshow", "visibilitychange"]) {
      globalThis.addEventListener?.(type, wake, { signal });
      globalThis.document?.addEventListener(type, wake, { signal });
    }
    stream.start();
  }

  function stop(why) {
    life.abort();
    leave();
    stream.stop();
    gap &&= { ...gap };
    if (why) enter("closed", why);
  }

  function receive(message, id) {
    const { type, data } = message;
    let from = place();
    if (type === "connected") {
      if (userId !== undefined && userId !== message.userId) {
        // The place was another user's.
        leave();
        seen.clear();
        userId = gap = status = undefined;
        connection.unread = null;
        reach("");
        if (from) throw AGAIN;
      }
      userId = message.userId;
      join(JSON.stringify(["campanile", hub.url, userId, [...(data.roles ?? [])].sort()]));
      from = id;
    }
    // Before the handlers, which may reconnect; stored after them, since the page may die in between.
    connection.lastEventId = id;
    say(message, from);
    take(message);
    if (gap && stream.run && /connected|gap/.test(type)) refetch();
  }

  function reach(id) {
    connection.lastEventId = id;
    if (!key || gap || stored === id || tabs?.leading === false) return;
    stored = id;
    try {
      if (id) localStorage.setItem(key, JSON.stringify({ userId, lastEventId: id }));
      else localStorage.removeItem(key);
    } catch {} // full or forbidden
  }

  function join(name) {
    if (options.shared === false || !globalThis.navigator?.locks || !globalThis.BroadcastChannel || name === tabs?.name) return;
    leave();
    tabs = joinTabs(name, { hear, lead: stream.start });
  }

  function leave() {
    tabs?.leave();
    tabs = null;
  }

  /** What came between two places: whoever was at the first misses nothing at the second. */
  function say(message, from = place()) {
    tabs?.say({ from, to: place(), message, leader: tabs.leading && change });
  }

  function hear({ ask, wake, looked, from, to, message = {}, leader }) {
    if (looked) pending = null;
    if (tabs.leading) {
      if (wake) stream.wake();
      if (ask) say(status);
      leader = null; // was frozen, and does not know yet
    }
    if (leader) {
      const { state, code, until, notBefore } = leader;
      tabs.unlessHeard(stream.silenceMs * (1 + Math.random() / 2));
      if (state === "open") isAt(place(), from) ? stream.stop() : stream.start(); // caught up, or something was missed
      stream.notBefore = notBefore;
      if (!stream.run) enter(state, { code }, until - Date.now() || undefined);
    }
    if (!tabs || (!leader && message.type !== "notification")) return;
    if (from !== to) {
      if (stream.run || isAt(place(), to) || !isAt(place(), from)) return;
      connection.lastEventId = to;
    }
    take(message);
  }

  function take(message) {
    const { type, data, notificationId, connectionId, timestamp } = message;
    let detail = data;
    if (type === "connected") {
      detail = connection.info = { userId, connectionId, timestamp, roles: [], ...data };
      enter("open");
      if (connection.state !== "open") return;
    } else if (type === "notification") {
      if (notificationId && seen.has(notificationId)) return;
      seen.add(notificationId);
      const [oldest] = seen;
      if (seen.size > SEEN_IDS) seen.delete(oldest);
      popUp(data);
    } else if (type === "status") {
      status = message;
      connection.unread = data.unread;
    } else if (type === "heartbeat") {
      detail = { timestamp };
    } else {
      if (type === "gap") gap = message;
      if (type === "inbox" && gap) fill(data);
      return;
    }
    emit(type, detail, message);
  }

  async function refetch() {
    const current = (gap = { ...gap }); // not another user's
    for (let tries = 1, delayMs = 0; gap === current; tries++) {
      await sleep(delayMs);
      const inbox = await hub.inbox().catch((cause) => ({ cause }));
      if (gap !== current) return;
      const { cause } = inbox;
      if (!cause || tries === INBOX_TRIES) {
        const message = { type: "inbox", data: cause ? {} : inbox };
        say(message);
        take(message);
      }
      if (cause) emit("error", new CampanileError("inbox", "The inbox cannot be fetched after a gap.", { cause }));
      delayMs = (cause?.retryAfterMs ?? 0) + BASE_DELAY_MS * 2 ** tries * Math.random();
    }
  }

  function fill(inbox) {
    const told = gap;
    gap = null;
    for (const data of [...(inbox.notifications ?? [])].reverse()) {
      const { notificationId, createdAt, read } = data;
      if (!read) take({ type: "notification", notificationId, timestamp: Date.parse(createdAt), data });
    }
    emit("gap", { ...told.data, ...inbox }, told);
  }

  async function popUp(notification) {
    const { desktopNotifications: wanted } = options;
    if (!wanted || globalThis.Notification?.permission !== "granted") return;
    if (tabs?.leading === false) return isVisible() && tabs.say({ looked: true });
    pending = notification;
    await sleep(ANSWER_MS);
    if (isVisible() || pending !== notification) return;
    const { title, message, link, notificationId: tag } = notification;
    const shown = wanted === true ? { title: title ?? message, body: title && message } : wanted(notification);
    if (!shown) return;
    const popup = new Notification(shown.title, { tag, ...shown });
    popup.onclick = () => {
      focus();
      popup.close();
      if (link && /^https?:$/.test(new URL(link, location).protocol)) open(link, "_blank", "noopener");
    };
  }

  function enter(state, why = {}, retryInMs) {
    if (state === connection.state && state !== "waiting") return;
    connection.state = state;
    const { code } = why;
    change = { state, code, until: Date.now() + retryInMs, notBefore: stream.notBefore };
    emit("state", { state, reason: code, retryInMs, error: why.message && why });
    if (tabs?.leading) say();
  }

  function emit(type, detail, message) {
    connection.dispatchEvent(Object.assign(new CustomEvent(type, { detail }), { message }));
  }

  if (options.lastEventId === undefined) {
    try {
      const kept = JSON.parse(localStorage.getItem(key));
      if (isPrintable(kept.lastEventId.trim())) ({ userId, lastEventId: stored } = kept);
      connection.lastEventId = stored ?? "";
    } catch {}
  } else connection.lastEventId = String(options.lastEventId);
  if (!isPrintable(place())) throw new TypeError("lastEventId must be printable ASCII");
  for (const [name, handler] of Object.entries(options)) {
    if (!/^on[A-Z]/.test(name) || !handler) continue;
    connection.addEventListener(name.slice(2).toLowerCase(), ({ detail, message }) => handler(detail, message));
  }
  start();
  return connection;
}

function textOf(source, signal) {
  return new ReadableStream({
    start(text) {
      source.onmessage = ({ data, lastEventId }) =>
        text.enqueue(`${lastEventId && `id: ${lastEventId}\n`}data: ${data}\n\n`);
      source.onerror = () => {
        source.close(); // its ticket is spent
        text.close();
      };
      signal.addEventListener("abort", () => {
        source.close();
        text.error(signal.reason);
      });
    },
  });
}

const failWith = (code, message) => (cause) => {
  throw new CampanileError(code, message, { cause });
};
const networkFailed = failWith("network", "The connection to the hub failed.");

const isPrintable = (text) => !/[^ -~]/.test(text);

const isVisible = () => globalThis.document?.visibilityState !== "hidden";

/** `<epoch>-<position>` */
const isAt = (place, that) =>
  place.split("-")[0] === that.split("-")[0] && place.localeCompare(that, "en", { numeric: true }) >= 0;

function sleep(ms, signal) {
  return new Promise((wake) => {
    const timer = setTimeout(wake, ms);
    signal?.addEventListener("abort", () => wake(clearTimeout(timer)));
  });
}

function askedBy(header) {
  const ms = header * 1_000 || Date.parse(header) - Date.now() || 0;
  return Math.min(Math.max(ms, 0), MAX_ASKED_MS);
}
