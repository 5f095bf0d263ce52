// A pretend hub: a log, streams that go on from a cursor, an inbox, and whatever trouble the script asks for.
//
// It keeps the contract's promises and nothing more: each stream is sent what is for its user and roles after its
// cursor, each once, rising; `connected` names the place; heartbeats carry a place.

const encoder = new TextEncoder();

export class ModelHub {
  heartbeatSeconds = 15;
  retryMs = 1_000;
  epoch = "e";
  log = [];
  /** Open streams: `{tab, user, roles, cursor, send(text), end()}`. */
  streams = [];
  /** How many requests for a stream have come. */
  attempts = 0;
  requests = [];
  /** Who a bearer token or a cookie says that somebody is. */
  identities = new Map();
  /** Positions up to this one are no longer kept. */
  floor = 0;
  /** Answers to give instead, each once, oldest first: a `Response`, or a function of the request. */
  trouble = [];
  inboxTrouble = [];
  down = false;
  /** A new stream is not told how much is unread. */
  slowToCount = false;
  read = new Set();
  tickets = new Map();

  id(position = this.log.length) {
    return `${this.epoch}-${position}`;
  }

  /** Stores one, and sends it to every stream that it is for. */
  publish({ user, role, message = "" }) {
    const position = this.log.length + 1;
    const entry = { position, user, role, id: `n${this.epoch}${position}`, message };
    this.log.push(entry);
    for (const stream of this.streams) this.#advance(stream);
    this.#count();
    return entry.id;
  }

  /** To live streams only, without an id. */
  ephemeral({ user, message }) {
    const entry = { user, id: `x${Math.random()}`, message };
    for (const stream of this.streams) if (stream.user === user) stream.send(this.#notification(entry));
    return entry.id;
  }

  heartbeat() {
    for (const stream of this.streams) {
      stream.cursor = this.log.length;
      stream.send(this.event({ type: "heartbeat", timestamp: Date.now() }, this.id()));
    }
  }

  /** Ends every stream: with these last words, or with a cut. */
  end(text) {
    for (const stream of this.streams.splice(0)) {
      if (text) stream.send(text);
      stream.end();
    }
  }

  /** Another log, as after a backup was put in place. */
  renew() {
    this.epoch += "x";
    this.log = [];
    this.end();
  }

  /** What a page of this user would have been shown, had it been there from the beginning. */
  allFor({ user, roles = [] }, after = 0) {
    return this.log.filter((entry) => entry.position > after && isFor(entry, { user, roles })).map(({ id }) => id);
  }

  event(message, id) {
    return `${id === undefined ? "" : `id: ${id}\n`}event: ${message.type}\ndata: ${JSON.stringify(message)}\n\n`;
  }

  /** `fetch`, as a tab has it. */
  async fetch(tab, url, init) {
    this.requests.push({ url, init });
    init.signal?.throwIfAborted();
    await new Promise((answered, reject) => {
      init.signal?.addEventListener("abort", () => reject(init.signal.reason));
      tab.task(answered);
    });
    if (this.down) throw new TypeError("fetch failed");
    const stream = url.pathname.endsWith("/stream");
    const trouble = stream ? this.trouble.shift() : url.pathname === "/notifications" && this.inboxTrouble.shift();
    if (stream) this.attempts++;
    if (trouble) return typeof trouble === "function" ? trouble({ tab, url, init }) : trouble;
    const caller = this.#caller(tab, init);
    if (!caller) return new Response("", { status: 401 });
    if (stream) return this.#stream(tab, caller, init.headers["last-event-id"], init.signal);
    if (url.pathname.endsWith("/ticket")) {
      const ticket = `t${this.tickets.size}`;
      this.tickets.set(ticket, caller);
      return Response.json({ ticket }, { status: 201 });
    }
    if (url.pathname === "/notifications") return Response.json(this.#inbox(caller, url.searchParams));
    if (url.pathname.endsWith("/read-all")) return this.#marked(caller, this.allFor(caller));
    return this.#marked(caller, [decodeURIComponent(url.pathname.split("/").at(-2))]);
  }

  /** The class that a tab finds as `EventSource`. */
  eventSource(tab) {
    const hub = this;
    return class EventSource {
      #closed = new AbortController();
      constructor(url) {
        const query = new URL(url).searchParams;
        hub.requests.push({ url: new URL(url), eventSource: true });
        hub.attempts++;
        const caller = hub.tickets.get(query.get("ticket"));
        hub.tickets.set(query.get("ticket"), null); // good once
        tab.task(() => (caller && !hub.down ? this.#open(caller, query) : this.onerror?.(new Event("error"))));
      }
      async #open(caller, query) {
        const response = hub.#stream(tab, caller, query.get("lastEventId"), this.#closed.signal);
        const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
        let lastEventId = "";
        let rest = "";
        try {
          for (;;) {
            const { done, value } = await reader.read();
            if (done) break;
            const blocks = (rest + value).split("\n\n");
            rest = blocks.pop();
            for (const block of blocks) {
              lastEventId = /^id: (.*)$/m.exec(block)?.[1] ?? lastEventId;
              const data = /^data: ([^\n]*)$/m.exec(block)?.[1];
              if (data) this.onmessage?.({ data, lastEventId });
            }
          }
        } catch {}
        if (!this.#closed.signal.aborted) this.onerror?.(new Event("error"));
      }
      close() {
        this.#closed.abort();
      }
    };
  }

  /** A tab is gone; so are its connections. */
  gone(tab) {
    this.streams = this.streams.filter((stream) => stream.tab !== tab);
  }

  #caller(tab, { headers }) {
    const bearer = headers.authorization?.replace("Bearer ", "");
    return this.identities.get(bearer ?? tab.cookie ?? "nobody");
  }

  #stream(tab, { user, roles = [] }, lastEventId, signal) {
    let controller;
    const body = new ReadableStream({ start: (it) => (controller = it) });
    const stream = {
      tab,
      user,
      roles,
      send: (text) =>
        tab.task(() => {
          if (!signal.aborted) controller.enqueue(encoder.encode(text));
        }),
      end: () =>
        tab.task(() => {
          if (!signal.aborted) controller.close();
        }),
    };
    const close = () => {
      if (this.streams.includes(stream)) this.streams.splice(this.streams.indexOf(stream), 1);
      controller.error(signal.reason);
    };
    signal.addEventListener("abort", close);
    if (signal.aborted) close();
    else this.streams.push(stream);

    const [epoch, position] = lastEventId ? lastEventId.split("-") : [this.epoch, this.log.length];
    const gap = epoch !== this.epoch ? "epoch" : position < this.floor ? "inbox" : null;
    stream.cursor = gap ? this.log.length : Number(position);
    const data = { roles, recovered: !gap && !!lastEventId, heartbeatSeconds: this.heartbeatSeconds };
    const connected = { type: "connected", userId: user, connectionId: `c${this.attempts}`, timestamp: Date.now(), data };
    stream.send(`retry: ${this.retryMs}\n${this.event(connected, gap ? undefined : this.id(stream.cursor))}`);
    if (!this.slowToCount) stream.send(this.event({ type: "status", data: { unread: this.#unread({ user, roles }) } }));
    if (gap) stream.send(this.event({ type: "gap", data: { scope: gap } }, this.id(stream.cursor)));
    this.#advance(stream);
    return new Response(body, { headers: { "content-type": "text/event-stream; charset=utf-8" } });
  }

  #advance(stream) {
    for (const entry of this.log.slice(stream.cursor)) {
      stream.cursor = entry.position;
      if (isFor(entry, stream)) stream.send(this.#notification(entry, this.id(entry.position)));
    }
  }

  #notification({ id, message }, place) {
    const data = { notificationId: id, message, severity: "medium" };
    return this.event({ type: "notification", notificationId: id, timestamp: Date.now(), data }, place);
  }

  #inbox(caller, query) {
    const mine = this.log.filter((entry) => isFor(entry, caller)).reverse();
    const notifications = mine.slice(0, Number(query.get("limit"))).map(({ position, id, message }) => ({
      eventId: this.id(position),
      notificationId: id,
      createdAt: "2026-11-21T01:30:17.731Z",
      message,
      severity: "medium",
      read: this.read.has(id),
    }));
    return { notifications, unread: this.#unread(caller), nextCursor: null };
  }

  /** Tells everybody how much they have not read. */
  #count() {
    for (const stream of this.streams) stream.send(this.event({ type: "status", data: { unread: this.#unread(stream) } }));
  }

  #unread(caller) {
    return this.log.slice(-1_000).filter((entry) => isFor(entry, caller) && !this.read.has(entry.id)).length;
  }

  #marked(caller, ids) {
    for (const id of ids) this.read.add(id);
    this.#count();
    return new Response(null, { status: 204 });
  }
}

const isFor = (entry, { user, roles }) => entry.user === user || roles?.includes(entry.role);
