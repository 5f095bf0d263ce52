// Campanile's browser client: one stream of notifications that never goes silent and shows nothing twice.
//
// The browser's own EventSource gives up for good on any status but 200, so a single 502 during a deploy silences
// a page until it is reloaded; nor can it send a bearer token or notice a connection that died without a word.
// This reads the stream through fetch and decides itself when to come back. Types and options: campanile.d.ts.

/** The reconnect delay doubles from the first to the second of these (ms), drawn anew each time (full jitter). */
const BASE_DELAY_MS = 1_000;
const MAX_DELAY_MS = 30_000;
/** The longest wait a server may ask for (ms): a slip in a header must not silence a page for a day. */
const MAX_ASKED_MS = 600_000;
/** How often a hub sends a heartbeat, until it says so itself (seconds). */
const HEARTBEAT_SECONDS = 15;
/** Heartbeats that may pass unheard: two, and a little for the way. */
const MISSED_HEARTBEATS = 2.2;
/** Ids kept to recognise a notification that comes again. */
const SEEN_IDS = 1_000;
/** The longest event (UTF-16 units); the hub's longest draft is 64 KiB. */
const MAX_EVENT_LENGTH = 1 << 20;

/** What `onError` is given. `fatal` means that the client has stopped; else it tries again by itself. */
export class CampanileError extends Error {
  constructor(code, message, { status, retryAfterMs = 0, fatal = false, cause } = {}) {
    super(message, { cause });
    this.name = "CampanileError";
    this.code = code;
    this.status = status;
    this.retryAfterMs = retryAfterMs;
    this.fatal = fatal;
  }
}

/**
 * Event-stream syntax (WHATWG HTML 9.2.6) over decoded text, cut anywhere. `push` yields whole events; `retry` (ms) and
 * `lastEventId` change as their lines come. An id that no header could carry back is ignored, as one with NUL is there.
 */
export class EventStreamParser {
  retry;
  lastEventId;
  #rest = "";
  #afterCr = false;
  #type = "";
  #data = [];
  #length = 0;
  #id;

  constructor(lastEventId = "") {
    this.lastEventId = this.#id = lastEventId;
  }

  *push(text) {
    let start = 0;
    if (this.#afterCr && text) {
      this.#afterCr = false;
      if (text[0] === "\n") start = 1;
    }
    for (let end = start; end < text.length; end++) {
      const char = text[end];
      if (char !== "\n" && char !== "\r") continue;
      const line = this.#rest + text.slice(start, end);
      this.#rest = "";
      if (char === "\r") {
        if (end + 1 === text.length) this.#afterCr = true;
        else if (text[end + 1] === "\n") end++;
      }
      start = end + 1;
      if (line) this.#field(line);
      else yield* this.#dispatch();
    }
    this.#rest += text.slice(start);
    if (this.#rest.length + this.#length > MAX_EVENT_LENGTH) {
      throw new CampanileError("malformed", "The stream sent an event longer than 1 MiB.");
    }
  }

  #field(line) {
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1);
    if (name === "data") {
      this.#data.push(value);
      this.#length += value.length + 1;
    } else if (name === "event") this.#type = value;
    else if (name === "id" && !/[^ -~]/.test(value)) this.#id = value;
    else if (name === "retry" && /^\d+$/.test(value)) this.retry = Math.min(Number(value), MAX_ASKED_MS);
  }

  *#dispatch() {
    this.lastEventId = this.#id;
    const event = { type: this.#type || "message", data: this.#data.join("\n"), lastEventId: this.#id };
    const whole = this.#data.length > 0;
    this.#type = "";
    this.#data = [];
    this.#length = 0;
    if (whole) yield event;
  }
}

class Connection extends EventTarget {
  #options;
  #url;
  #key;
  #state = "connecting";
  #info = null;
  #unread = null;
  #userId;
  #cursor = "";
  #saved;
  #seen = new Set();
  #attempt = 0;
  #refusals = 0;
  #retryMs = 0;
  #silenceMs = HEARTBEAT_SECONDS * MISSED_HEARTBEATS * 1_000;
  /** Aborted when this run of attempts is over: by close(), by reconnect(), or for good. */
  #run = new AbortController();
  /** Ends whatever is under way, an attempt or a wait; and what to do when the page wakes meanwhile. */
  #interrupt = () => {};
  #wake = () => {};

  constructor(options) {
    super();
    this.#options = options;
    this.#url = new URL(options.url ?? "/notifications/stream", globalThis.location?.href);
    this.#key = options.persist ? `campanile:${this.#url}` : null;
    if (options.lastEventId !== undefined) this.#cursor = String(options.lastEventId);
    else this.#load();
    if (/[^ -~]/.test(this.#cursor)) throw new TypeError("lastEventId must be printable ASCII");
    for (const type of ["notification", "connected", "status", "gap", "error", "state", "heartbeat"]) {
      const handler = options[`on${type[0].toUpperCase()}${type.slice(1)}`];
      if (handler) this.addEventListener(type, (event) => handler(event.detail, event.message));
    }
    this.#start();
  }

  get state() {
    return this.#state;
  }
  get info() {
    return this.#info;
  }
  get unread() {
    return this.#unread;
  }
  get lastEventId() {
    return this.#cursor;
  }

  /** Ends the stream. Nothing is received afterwards, until reconnect(). */
  close() {
    this.#stop();
    this.#enter("closed", { reason: "close" });
  }

  /** Connects again at once from the last id: after close(), after a fatal error, or instead of waiting. */
  reconnect() {
    this.#stop();
    this.#attempt = this.#refusals = 0;
    this.#start();
  }

  #stop() {
    this.#run.abort();
    this.#interrupt();
  }

  #start() {
    const { signal } = (this.#run = new AbortController());
    const wake = () => globalThis.document?.visibilityState !== "hidden" && this.#wake();
    globalThis.addEventListener?.("online", wake, { signal });
    globalThis.addEventListener?.("pageshow", wake, { signal });
    globalThis.document?.addEventListener("visibilitychange", wake, { signal });
    this.#keepConnected(signal);
  }

  async #keepConnected(run) {
    await null; // so that no handler runs before connect() has returned
    while (!run.aborted) {
      this.#enter("connecting", {});
      const end = await this.#stream(run);
      if (run.aborted) return;
      if (end.again) continue;
      if (end.error?.status === 401) {
        if (++this.#refusals < 2) continue;
        const message = "The hub refused these credentials (401), twice. Sign in again, then reconnect().";
        const error = new CampanileError("unauthorized", message, { status: 401, fatal: true });
        this.#run.abort();
        this.#enter("closed", { reason: "unauthorized", error });
        return this.#emit("error", error);
      }
      const askedMs = Math.max(end.askedMs ?? 0, end.error?.retryAfterMs ?? 0);
      const floorMs = Math.max(askedMs, this.#retryMs);
      const spanMs = Math.max(BASE_DELAY_MS, Math.min(BASE_DELAY_MS * 2 ** this.#attempt, MAX_DELAY_MS - floorMs));
      const delayMs = floorMs + Math.random() * spanMs;
      this.#attempt++;
      if (end.error) this.#emit("error", end.error);
      if (run.aborted) return;
      this.#enter("waiting", { retryInMs: delayMs, reason: end.reason ?? end.error.code, error: end.error });
      if (!run.aborted) await this.#wait(delayMs, askedMs);
    }
  }

  /** A page that wakes up need not sit out its backoff, but does sit out what the server asked for. */
  #wait(delayMs, askedMs) {
    return new Promise((resolve) => {
      const notBefore = Date.now() + askedMs;
      const timer = setTimeout(resolve, delayMs);
      this.#interrupt = () => {
        clearTimeout(timer);
        resolve();
      };
      this.#wake = () => Date.now() >= notBefore && this.#interrupt();
    });
  }

  /** One attempt, from asking for a token to the stream's end: why it ended. Never rejects. */
  async #stream(run) {
    const attempt = new AbortController();
    const { signal } = attempt;
    const parser = new EventStreamParser(this.#cursor);
    let timer;
    let heardAt;
    let woken = false;
    const dead = () => attempt.abort(new CampanileError("silent", "The hub has gone silent."));
    const heard = () => {
      heardAt = Date.now();
      clearTimeout(timer);
      timer = setTimeout(dead, this.#silenceMs);
    };
    this.#interrupt = () => attempt.abort();
    this.#wake = () => {
      // Timers stand still while a computer sleeps: what has been silent for too long by the clock is dead already.
      if (Date.now() - heardAt <= this.#silenceMs) return;
      woken = true;
      dead();
    };
    heard();
    try {
      const response = await this.#request(signal);
      const reader = response.body.getReader();
      const decoder = new TextDecoder(); // strips the BOM that a stream may begin with
      for (;;) {
        const { done, value } = await reader.read();
        if (run.aborted) return {};
        if (done) throw new CampanileError("ended", "The stream ended.");
        heard();
        for (const event of parser.push(decoder.decode(value, { stream: true }))) {
          const end = this.#receive(event, parser, heard);
          if (end) return end;
          if (run.aborted) return {};
        }
        this.#cursor = parser.lastEventId;
        this.#save();
      }
    } catch (thrown) {
      const cause = signal.aborted ? signal.reason : thrown;
      if (woken) return { again: true };
      if (cause instanceof CampanileError) return { error: cause };
      return { error: new CampanileError("network", "The connection to the hub failed.", { cause }) };
    } finally {
      clearTimeout(timer);
      attempt.abort(); // frees the socket, however this ended
      if (parser.retry !== undefined) this.#retryMs = parser.retry;
    }
  }

  async #request(signal) {
    const { token, getToken } = this.#options;
    const headers = { accept: "text/event-stream" };
    let bearer = token;
    if (getToken) {
      const aborted = new Promise((resolve) => signal.addEventListener("abort", resolve));
      try {
        bearer = await Promise.race([getToken({ refused: this.#refusals > 0 }), aborted]);
      } catch (cause) {
        throw new CampanileError("token", "getToken failed.", { cause });
      }
      signal.throwIfAborted();
    }
    if (bearer) headers.authorization = `Bearer ${bearer}`;
    if (this.#cursor) headers["last-event-id"] = this.#cursor;
    const response = await fetch(this.#url, { headers, signal, cache: "no-store", credentials: "same-origin" });
    const { status } = response;
    if (status !== 200) {
      const retryAfterMs = askedBy(response.headers.get("retry-after"));
      throw new CampanileError("status", `The hub answered ${status}.`, { status, retryAfterMs });
    }
    if (!/^text\/event-stream(\s*;|$)/i.test(response.headers.get("content-type") ?? "")) {
      throw new CampanileError("not-a-stream", "The answer is not an event stream.", { status });
    }
    return response;
  }

  /** Takes one event in. Returns how the stream is to end, if it is. */
  #receive({ data, lastEventId }, parser, heard) {
    let message;
    try {
      message = JSON.parse(data);
    } catch (cause) {
      this.#emit("error", new CampanileError("malformed", "The hub sent an event that is not JSON.", { cause }));
      return;
    }
    const body = message?.data ?? {};
    if (message?.type === "connected") {
      const { userId, connectionId, timestamp } = message;
      if (this.#userId !== undefined && userId !== this.#userId) {
        // Another user by now: the place in the log was somebody else's, and so is what was received.
        const resumed = this.#cursor !== "";
        this.#forget();
        if (resumed) return { again: true };
      }
      this.#userId = userId;
      this.#attempt = this.#refusals = 0;
      parser.retry ??= BASE_DELAY_MS;
      this.#info = { userId, connectionId, timestamp, roles: [], ...body };
      this.#silenceMs = (body.heartbeatSeconds || HEARTBEAT_SECONDS) * MISSED_HEARTBEATS * 1_000;
      heard();
    }
    // The place moves on before the handlers run, so that what they read or reconnect from includes this event; it is
    // stored only after them, so that a page which dies in between is sent it again.
    this.#cursor = lastEventId;
    switch (message?.type) {
      case "connected":
        this.#enter("open", {});
        if (this.#state === "open") this.#emit("connected", this.#info, message);
        return;
      case "notification":
        if (this.#isNew(message.notificationId)) this.#emit("notification", body, message);
        return;
      case "status":
        this.#unread = body.unread ?? null;
        return this.#emit("status", body, message);
      case "gap":
        return this.#emit("gap", body, message);
      case "heartbeat":
        return this.#emit("heartbeat", { timestamp: message.timestamp }, message);
      case "bye": {
        // Its `retry:` is for this once; a minute of "busy" must not become every later delay.
        const askedMs = parser.retry ?? 0;
        parser.retry = 0;
        this.#save();
        return { reason: body.reason ?? "bye", askedMs };
      }
    }
  }

  #isNew(id) {
    if (id === undefined) return true;
    if (this.#seen.has(id)) return false;
    this.#seen.add(id);
    if (this.#seen.size > SEEN_IDS) this.#seen.delete(this.#seen.values().next().value);
    return true;
  }

  #forget() {
    this.#seen.clear();
    this.#cursor = "";
    this.#userId = undefined;
    this.#unread = null;
    this.#save();
  }

  // Storage may be missing, full or forbidden: then a reload simply begins at the user's mark, kept by the hub.
  #load() {
    try {
      const stored = this.#key && JSON.parse(localStorage.getItem(this.#key));
      if (typeof stored?.lastEventId !== "string" || /[^ -~]/.test(stored.lastEventId)) return;
      this.#cursor = this.#saved = stored.lastEventId;
      this.#userId = stored.userId;
    } catch {}
  }

  #save() {
    if (!this.#key || this.#saved === this.#cursor) return;
    this.#saved = this.#cursor;
    try {
      if (!this.#cursor) localStorage.removeItem(this.#key);
      else localStorage.setItem(this.#key, JSON.stringify({ userId: this.#userId, lastEventId: this.#cursor }));
    } catch {}
  }

  #enter(state, detail) {
    if (state === this.#state && state !== "waiting") return;
    this.#state = state;
    this.#emit("state", { state, ...detail });
  }

  #emit(type, detail, message) {
    this.dispatchEvent(Object.assign(new CustomEvent(type, { detail }), { message }));
  }
}

/** `Retry-After` (RFC 9110 10.2.3), seconds or a date, in ms; 0 where it says nothing usable. */
function askedBy(header) {
  if (!header) return 0;
  const ms = /^\d+$/.test(header) ? header * 1_000 : Date.parse(header) - Date.now();
  return Math.min(Math.max(ms || 0, 0), MAX_ASKED_MS);
}

/**
 * Opens the caller's stream of notifications and keeps it open until `close()`.
 *
 * @example
 * const hub = connect({ onNotification: ({ title, message }) => show(title ?? "", message) });
 * hub.addEventListener("status", () => badge.textContent = hub.unread);
 *
 * @param {import("./campanile.js").ConnectOptions} [options]
 * @returns {import("./campanile.js").Connection}
 */
export function connect(options = {}) {
  return new Connection(options);
}
