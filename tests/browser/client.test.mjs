// The browser client (static/campanile.js) against a scripted server: every way in which a stream can go wrong, at the
// moment the script says. Waits are awaited events, never sleeps: jitter is fixed at its lowest, so delays are what the
// server asked for. Runs in Node alone: node --test tests/browser/client.test.mjs

import assert from "node:assert/strict";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { afterEach, beforeEach, describe, test } from "node:test";
import { gzipSync } from "node:zlib";

// Read as a module whatever the nearest package.json says of .js files.
// Browsers have it, and Node from 19 on.
globalThis.CustomEvent ??= class CustomEvent extends Event {
  constructor(type, { detail } = {}) {
    super(type);
    this.detail = detail;
  }
};

const source = await readFile(new URL("../../static/campanile.js", import.meta.url));
const { connect, EventStreamParser } = await import(`data:text/javascript;base64,${source.toString("base64")}`);

const TIMEOUT_MS = 20_000;
const within = { timeout: TIMEOUT_MS };

/** A queue between events that come when they like and a test that awaits them one by one. */
function mailbox() {
  const letters = [];
  const readers = [];
  return {
    put: (letter) => (readers.length ? readers.shift()(letter) : letters.push(letter)),
    next: () => (letters.length ? letters.shift() : new Promise((resolve) => readers.push(resolve))),
    get waiting() {
      return letters.length;
    },
  };
}

let server;
let requests;
let connections;
let url;

beforeEach(async () => {
  requests = mailbox();
  connections = [];
  server = createServer((request, response) => requests.put({ request, response, headers: request.headers }));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  url = `http://127.0.0.1:${server.address().port}/notifications/stream`;
});

afterEach(async () => {
  for (const connection of connections) connection.close();
  const closed = once(server, "close");
  server.close();
  server.closeAllConnections();
  await closed;
});

/** A client whose every event lands in a mailbox, as `[type, detail]`. */
function client(t, options = {}, random = () => 0) {
  t.mock.method(Math, "random", random);
  const events = mailbox();
  const connection = connect({ url, ...options });
  for (const type of ["notification", "connected", "status", "gap", "error", "state", "heartbeat"]) {
    connection.addEventListener(type, (event) => events.put([type, event.detail]));
  }
  connections.push(connection);
  /** The detail of the next event of this type; events of others in between are passed over. */
  const next = async (wanted) => {
    for (;;) {
      const [type, detail] = await events.next();
      if (type === wanted) return detail;
    }
  };
  const nextState = async (wanted) => {
    for (;;) {
      const change = await next("state");
      if (change.state === wanted) return change;
    }
  };
  return { connection, events, next, nextState };
}

const event = (message, id) =>
  `${id === undefined ? "" : `id: ${id}\n`}event: ${message.type}\ndata: ${JSON.stringify(message)}\n\n`;
const connected = (id, { userId = "42", ...data } = {}) =>
  event({ type: "connected", userId, connectionId: "c1", timestamp: 1, data: { roles: ["ADMIN"], ...data } }, id);
const notification = (n, id = `e-${n}`) =>
  event(
    { type: "notification", notificationId: `n${n}`, timestamp: n, data: { notificationId: `n${n}`, message: `m${n}` } },
    id,
  );

function stream(response, text = "") {
  response.writeHead(200, { "content-type": "text/event-stream; charset=utf-8" });
  response.write(text);
}

/** Something to dispatch `online` and the like on, where Node has no window. */
function fakeWindow(t) {
  const window = new EventTarget();
  const document = new EventTarget();
  document.visibilityState = "visible";
  globalThis.addEventListener = window.addEventListener.bind(window);
  globalThis.document = document;
  t.after(() => {
    delete globalThis.addEventListener;
    delete globalThis.document;
  });
  return { window, document };
}

function fakeStorage(t, storage) {
  const before = Object.getOwnPropertyDescriptor(globalThis, "localStorage");
  Object.defineProperty(globalThis, "localStorage", { value: storage, configurable: true });
  t.after(() => {
    delete globalThis.localStorage;
    if (before) Object.defineProperty(globalThis, "localStorage", before);
  });
}

function memoryStorage() {
  const items = new Map();
  const stored = mailbox();
  return {
    stored,
    getItem: (key) => items.get(key) ?? null,
    setItem(key, value) {
      items.set(key, value);
      stored.put(value);
    },
    removeItem: (key) => void items.delete(key),
  };
}

describe("the event-stream parser", () => {
  const parse = (chunks) => {
    const parser = new EventStreamParser();
    const events = chunks.flatMap((chunk) => [...parser.push(chunk)]);
    return { events, retry: parser.retry, lastEventId: parser.lastEventId };
  };
  const text = [
    ": a comment",
    "retry: 2500",
    "id: k-1",
    "event: connected",
    'data: {"a":1}',
    "",
    "data:no space",
    "data:  two spaces",
    "data",
    "",
    "event: without data is no event",
    "",
    "unknown: field",
    "retry: not a number",
    "id: k-2",
    "",
    "data: déjà vu 🔔",
    "",
    "data: cut off before its blank line",
  ].join("\n");
  const expected = {
    events: [
      { type: "connected", data: '{"a":1}', lastEventId: "k-1" },
      { type: "message", data: "no space\n two spaces\n", lastEventId: "k-1" },
      { type: "message", data: "déjà vu 🔔", lastEventId: "k-2" },
    ],
    retry: 2500,
    lastEventId: "k-2",
  };

  for (const [name, ending] of [["LF", "\n"], ["CRLF", "\r\n"], ["CR", "\r"]]) {
    test(`reads ${name} lines, cut in two anywhere or into single characters`, () => {
      const lines = text.replaceAll("\n", ending);
      for (let cut = 0; cut <= lines.length; cut++) {
        assert.deepEqual(parse([lines.slice(0, cut), lines.slice(cut)]), expected, `cut at ${cut}`);
      }
      assert.deepEqual(parse(lines.split("")), expected);
    });
  }

  test("an id counts only once its event is whole, and stays until another comes", () => {
    const parser = new EventStreamParser("before");
    assert.deepEqual([...parser.push("id: next\ndata: x\n")], []);
    assert.equal(parser.lastEventId, "before");
    assert.deepEqual([...parser.push("\n")], [{ type: "message", data: "x", lastEventId: "next" }]);
    assert.deepEqual([...parser.push("data: y\n\n")], [{ type: "message", data: "y", lastEventId: "next" }]);
    assert.deepEqual([...parser.push("id\ndata: z\n\n")], [{ type: "message", data: "z", lastEventId: "" }]);
  });

  test("an id that no header could carry back is ignored", () => {
    assert.equal(parse(["id: a\n\nid: b\u0000c\n\nid: é\n\n"]).lastEventId, "a");
  });
});

describe("receiving", () => {
  test("every event of the contract reaches its handler, and unknown ones reach none", within, async (t) => {
    const calls = [];
    const log = (name) => (detail, message) => calls.push([name, detail, message?.type]);
    const done = mailbox();
    const { connection } = client(t, {
      onConnected: log("connected"),
      onNotification: log("notification"),
      onStatus: log("status"),
      onGap: log("gap"),
      onHeartbeat: (...heartbeat) => (log("heartbeat")(...heartbeat), done.put()),
    });
    const inbox = { notifications: [], unread: 0, nextCursor: null };
    const { request, response } = await requests.next();
    assert.equal(request.headers.accept, "text/event-stream");
    assert.equal(request.headers["last-event-id"], undefined);
    assert.equal(request.headers.authorization, undefined);
    assert.equal(connection.state, "connecting");
    assert.equal(connection.unread, null);
    stream(response, `${connected("e-1", { recovered: false })}${event({ type: "status", data: { unread: "1000+" } })}`);
    response.write(notification(2) + event({ type: "later-invention", data: {} }) + event({ type: "gap", data: { scope: "inbox" } }));
    const refetch = await requests.next();
    assert.match(refetch.request.url, /^\/notifications\?limit=/);
    const told = new Promise((resolve) => connection.addEventListener("gap", resolve));
    refetch.response.end(JSON.stringify(inbox));
    await told;
    response.write(event({ type: "heartbeat", timestamp: 9 }, "e-7"));
    await done.next();
    const info = { userId: "42", connectionId: "c1", timestamp: 1, roles: ["ADMIN"], recovered: false };
    assert.deepEqual(calls, [
      ["connected", info, "connected"],
      ["status", { unread: "1000+" }, "status"],
      ["notification", { notificationId: "n2", message: "m2" }, "notification"],
      ["gap", { scope: "inbox", ...inbox }, "gap"],
      ["heartbeat", { timestamp: 9 }, "heartbeat"],
    ]);
    assert.deepEqual(connection.info, info);
    assert.equal(connection.unread, "1000+");
    assert.equal(connection.state, "open");
    assert.equal(connection.lastEventId, "e-7");
  });

  test("bytes that come one at a time, with a BOM, CRLF and letters of several bytes, read the same", within, async (t) => {
    const { next } = client(t);
    const { response } = await requests.next();
    response.socket.setNoDelay(true);
    const said = { type: "notification", notificationId: "n1", data: { message: "déjà vu 🔔" } };
    const bytes = Buffer.from(`\ufeff${connected("e-1")}${event(said, "e-2")}`.replaceAll("\n", "\r\n"));
    stream(response);
    for (const byte of bytes) await new Promise((written) => response.write(Buffer.of(byte), written));
    assert.equal((await next("connected")).userId, "42");
    assert.equal((await next("notification")).message, "déjà vu 🔔");
  });

  test("a notification sent twice is shown once, even on another stream", within, async (t) => {
    const { connection, next } = client(t);
    const first = await requests.next();
    stream(first.response, `retry: 1\n${connected("e-0")}${notification(1)}${notification(1)}${notification(2)}`);
    assert.equal((await next("notification")).message, "m1");
    assert.equal((await next("notification")).message, "m2");
    first.response.destroy();
    const second = await requests.next();
    stream(second.response, connected("e-2") + notification(2) + notification(3));
    assert.equal((await next("notification")).message, "m3");
    assert.equal(connection.lastEventId, "e-3");
  });

  test("the ids that are remembered are the newest 1,000, whatever comes", within, async (t) => {
    let count = 0;
    const { next } = client(t, { onNotification: () => count++ });
    const { response } = await requests.next();
    stream(response, connected("e-0"));
    for (let n = 1; n <= 10_000; n++) response.write(notification(n));
    response.write(notification(9_001) + event({ type: "heartbeat", timestamp: 1 }));
    await next("heartbeat");
    assert.equal(count, 10_000);
    response.write(notification(9_000) + event({ type: "heartbeat", timestamp: 2 }));
    await next("heartbeat");
    assert.equal(count, 10_001);
  });

  test("an event that is not JSON is reported and passed over", within, async (t) => {
    const { connection, next } = client(t);
    const { response } = await requests.next();
    stream(response, `${connected("e-0")}id: e-1\ndata: {broken\n\n${notification(2)}`);
    assert.equal((await next("error")).code, "malformed");
    assert.equal((await next("notification")).message, "m2");
    assert.equal(connection.state, "open");
  });

  test("an event without end is cut off, not gathered for ever", within, async (t) => {
    const { next } = client(t);
    const { response } = await requests.next();
    stream(response, `retry: 1\n${connected("e-0")}data: `);
    response.write("x".repeat((1 << 20) + 1));
    assert.equal((await next("error")).code, "malformed");
    assert.equal((await requests.next()).headers["last-event-id"], "e-0");
  });

  test("after close() in a handler nothing more is received, and the socket is freed", within, async (t) => {
    const received = [];
    const { connection, nextState } = client(t, {
      onNotification: ({ message }) => {
        received.push(message);
        connection.close();
      },
    });
    const { request, response } = await requests.next();
    const gone = once(request.socket, "close");
    stream(response, connected("e-0") + notification(1) + notification(2));
    await nextState("closed");
    await gone;
    assert.deepEqual(received, ["m1"]);
    assert.equal(connection.lastEventId, "e-1");
    assert.equal(requests.waiting, 0);
  });

  test("no handler is called before connect() has returned", within, async (t) => {
    let returned = false;
    const seen = mailbox();
    client(t, { onError: () => seen.put(returned), getToken: () => Promise.reject(new Error("no")) });
    returned = true;
    assert.equal(await seen.next(), true);
  });
});

describe("coming back", () => {
  for (const status of [204, 400, 403, 404, 429, 500, 502, 503, 504]) {
    test(`a ${status} does not silence it`, within, async (t) => {
      const { connection, next } = client(t);
      const refused = await requests.next();
      refused.response.writeHead(status).end();
      const error = await next("error");
      assert.deepEqual([error.code, error.status, error.fatal], ["status", status, false]);
      stream((await requests.next()).response, connected("e-0"));
      await next("connected");
      assert.equal(connection.state, "open");
    });
  }

  test("a 200 that is no event stream is a failure like a status", within, async (t) => {
    const { next } = client(t);
    const refused = await requests.next();
    refused.response.writeHead(200, { "content-type": "text/html" }).end("<h1>Sign in</h1>");
    assert.equal((await next("error")).code, "not-a-stream");
    stream((await requests.next()).response, connected("e-0"));
    await next("connected");
  });

  test("a refused connection and a cut stream are the network's fault, and resume from the last id", within, async (t) => {
    const { next } = client(t);
    (await requests.next()).request.socket.destroy();
    assert.equal((await next("error")).code, "network");
    const cut = await requests.next();
    stream(cut.response, `retry: 1\n${connected("e-7")}${notification(8)}id: e-9\ndata: half an ev`);
    assert.equal((await next("notification")).message, "m8");
    cut.response.destroy();
    assert.equal((await next("error")).code, "network");
    assert.equal((await requests.next()).headers["last-event-id"], "e-8");
  });

  test("what has received nothing resumes from the place that connected names", within, async (t) => {
    const { next } = client(t, { lastEventId: "e-3" });
    const first = await requests.next();
    assert.equal(first.headers["last-event-id"], "e-3");
    stream(first.response, `retry: 1\n${connected("e-5")}`);
    await next("connected");
    first.response.end();
    assert.equal((await next("error")).code, "ended");
    assert.equal((await requests.next()).headers["last-event-id"], "e-5");
  });

  test("a hub that falls silent for two heartbeats is left", within, async (t) => {
    const { next, nextState } = client(t);
    const { request, response } = await requests.next();
    const gone = once(request.socket, "close");
    stream(response, `retry: 1\n${connected("e-1", { heartbeatSeconds: 0.05 })}`);
    response.write(event({ type: "heartbeat", timestamp: 1 }, "e-2"));
    assert.equal((await next("error")).code, "silent");
    assert.equal((await nextState("waiting")).reason, "silent");
    await gone;
    assert.equal((await requests.next()).headers["last-event-id"], "e-2");
  });

  test("the delay is drawn from a span that doubles up to 30 s, and begins anew once connected", within, async (t) => {
    const { window } = fakeWindow(t);
    const { nextState } = client(t, {}, () => 0.5);
    const delays = [];
    for (let attempt = 0; attempt < 8; attempt++) {
      (await requests.next()).response.writeHead(502).end();
      delays.push((await nextState("waiting")).retryInMs);
      window.dispatchEvent(new Event("online"));
    }
    assert.deepEqual(delays, [500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000, 15_000]);
    const { response } = await requests.next();
    stream(response, `retry: 3000\n${connected("e-0")}`);
    await nextState("open");
    response.end();
    assert.equal((await nextState("waiting")).retryInMs, 3_500);
  });

  test("retry: is the least delay from then on, and counts within the 30 s", within, async (t) => {
    const { window } = fakeWindow(t);
    let drawn = 0;
    const { connection, nextState } = client(t, {}, () => drawn);
    const { response } = await requests.next();
    stream(response, `retry: 4000\n${connected("e-0")}`);
    await nextState("open");
    response.end();
    const delays = [(await nextState("waiting")).retryInMs];
    for (drawn of [0, 1, 1, 1, 1, 1, 0]) {
      window.dispatchEvent(new Event("online"));
      (await requests.next()).response.writeHead(502).end();
      delays.push((await nextState("waiting")).retryInMs);
    }
    assert.deepEqual(delays, [4_000, 4_000, 8_000, 12_000, 20_000, 30_000, 30_000, 4_000]);
    assert.equal(connection.state, "waiting");
  });

  test("Retry-After is obeyed, in seconds or as a date, and waking up does not cut it short", within, async (t) => {
    const { window, document } = fakeWindow(t);
    const { connection, nextState } = client(t);
    (await requests.next()).response.writeHead(503, { "retry-after": "120" }).end();
    assert.equal((await nextState("waiting")).retryInMs, 120_000);
    window.dispatchEvent(new Event("online"));
    document.dispatchEvent(new Event("visibilitychange"));
    await new Promise(setImmediate);
    assert.equal(connection.state, "waiting");
    connection.reconnect();
    const date = new Date(Date.now() + 60_000).toUTCString();
    (await requests.next()).response.writeHead(503, { "retry-after": date }).end();
    const { retryInMs } = await nextState("waiting");
    assert.ok(retryInMs > 50_000 && retryInMs <= 60_000, String(retryInMs));
    connection.reconnect();
    (await requests.next()).response.writeHead(503, { "retry-after": "99999999" }).end();
    assert.equal((await nextState("waiting")).retryInMs, 600_000);
  });

  test("bye is obeyed with its retry:, once", within, async (t) => {
    const { connection, nextState } = client(t);
    const refused = await requests.next();
    stream(refused.response, `retry: 60000\n${event({ type: "bye", data: { reason: "busy" } })}`);
    const busy = await nextState("waiting");
    assert.deepEqual([busy.retryInMs, busy.reason, busy.error], [60_000, "busy", undefined]);
    connection.reconnect();
    (await requests.next()).response.writeHead(502).end();
    assert.equal((await nextState("waiting")).retryInMs, 0);
  });

  for (const type of ["online", "pageshow", "visibilitychange"]) {
    test(`${type} tries at once while waiting`, within, async (t) => {
      const { window, document } = fakeWindow(t);
      const { nextState } = client(t, {}, () => 0.999);
      const target = type === "visibilitychange" ? document : window;
      for (let attempt = 0; attempt < 5; attempt++) {
        (await requests.next()).response.writeHead(502).end();
        await nextState("waiting");
        target.dispatchEvent(new Event(type));
      }
      stream((await requests.next()).response, connected("e-0"));
      await nextState("open");
    });
  }

  test("a page that wakes after a long sleep leaves the dead stream at once", within, async (t) => {
    const { window } = fakeWindow(t);
    const { nextState } = client(t, {}, () => 0.999);
    stream((await requests.next()).response, `retry: 5000\n${connected("e-4")}`);
    await nextState("open");
    const now = Date.now();
    t.mock.method(Date, "now", () => now + 3_600_000);
    window.dispatchEvent(new Event("pageshow"));
    assert.equal((await requests.next()).headers["last-event-id"], "e-4");
  });

  test("a hidden page's events wake nothing, and after close() none do", within, async (t) => {
    const { window, document } = fakeWindow(t);
    const { connection, nextState } = client(t, {}, () => 0.999);
    (await requests.next()).response.writeHead(502).end();
    await nextState("waiting");
    document.visibilityState = "hidden";
    document.dispatchEvent(new Event("visibilitychange"));
    await new Promise(setImmediate);
    assert.equal(connection.state, "waiting");
    document.visibilityState = "visible";
    connection.close();
    window.dispatchEvent(new Event("online"));
    await new Promise(setImmediate);
    assert.equal(connection.state, "closed");
    connection.reconnect();
    await requests.next();
    assert.equal(requests.waiting, 0);
  });
});

describe("who is asking", () => {
  test("a token is sent as a bearer", within, async (t) => {
    client(t, { token: "abc" });
    assert.equal((await requests.next()).headers.authorization, "Bearer abc");
  });

  test("getToken is asked before every attempt, and told of a 401", within, async (t) => {
    const asked = [];
    const { next } = client(t, { getToken: async ({ refused }) => `t${asked.push(refused)}` });
    const first = await requests.next();
    assert.equal(first.headers.authorization, "Bearer t1");
    first.response.writeHead(401).end();
    const second = await requests.next();
    assert.equal(second.headers.authorization, "Bearer t2");
    stream(second.response, `retry: 1\n${connected("e-0")}`);
    await next("connected");
    second.response.end();
    assert.equal((await requests.next()).headers.authorization, "Bearer t3");
    assert.deepEqual(asked, [false, true, false]);
  });

  test("401 twice stops it with a clear error, and reconnect() starts it again", within, async (t) => {
    const { connection, next, nextState } = client(t);
    for (let refusal = 0; refusal < 2; refusal++) (await requests.next()).response.writeHead(401).end();
    const closed = await nextState("closed");
    assert.equal(closed.reason, "unauthorized");
    const error = await next("error");
    assert.deepEqual([error.code, error.status, error.fatal], ["unauthorized", 401, true]);
    assert.match(error.message, /sign in/i);
    assert.equal(connection.state, "closed");
    connection.reconnect();
    stream((await requests.next()).response, connected("e-0"));
    await nextState("open");
  });

  test("a getToken that fails is asked again", within, async (t) => {
    let calls = 0;
    const { next } = client(t, {
      getToken: () => {
        if (++calls === 1) throw new Error("offline");
        return "t";
      },
    });
    const error = await next("error");
    assert.equal(error.code, "token");
    assert.equal(error.cause.message, "offline");
    assert.equal((await requests.next()).headers.authorization, "Bearer t");
  });

  test("a getToken that never answers does not keep close() and reconnect() waiting", within, async (t) => {
    const asked = mailbox();
    const answers = [new Promise(() => {}), "t"];
    const { connection } = client(t, { getToken: () => (asked.put(), answers.shift()) });
    await asked.next();
    connection.reconnect();
    assert.equal((await requests.next()).headers.authorization, "Bearer t");
  });

  test("another user's place in the log is dropped and the stream begun anew", within, async (t) => {
    const { connection, next } = client(t);
    const first = await requests.next();
    stream(first.response, `retry: 1\n${connected("e-1")}${notification(2)}`);
    await next("notification");
    first.response.end();
    const second = await requests.next();
    assert.equal(second.headers["last-event-id"], "e-2");
    stream(second.response, connected("e-2", { userId: "7" }) + notification(3));
    const third = await requests.next();
    assert.equal(third.headers["last-event-id"], undefined);
    stream(third.response, connected("e-9", { userId: "7" }) + notification(2, "e-10"));
    assert.equal((await next("connected")).userId, "7");
    assert.equal((await next("notification")).message, "m2");
    assert.equal(connection.info.userId, "7");
    assert.equal(connection.lastEventId, "e-10");
  });

  test("an id that cannot be a header is refused at once", () => {
    assert.throws(() => connect({ url, lastEventId: "é" }), TypeError);
    assert.throws(() => connect({ url: "http://" }), TypeError);
  });
});

describe("across reloads", () => {
  test("persist goes on from the stored id, for this URL and this user only", within, async (t) => {
    const storage = memoryStorage();
    fakeStorage(t, storage);
    const key = `campanile:${url}`;
    const before = client(t, { persist: true });
    stream((await requests.next()).response, connected("e-1") + notification(2));
    while ((await storage.stored.next()) !== JSON.stringify({ userId: "42", lastEventId: "e-2" }));
    before.connection.close();

    const reloaded = client(t, { persist: true });
    const resumed = await requests.next();
    assert.equal(resumed.headers["last-event-id"], "e-2");
    stream(resumed.response, connected("e-2", { recovered: true }));
    await reloaded.next("connected");
    reloaded.connection.close();

    client(t, { persist: true, url: `${url}?events=unnamed` });
    assert.equal((await requests.next()).headers["last-event-id"], undefined);

    const another = client(t, { persist: true });
    const wrong = await requests.next();
    assert.equal(wrong.headers["last-event-id"], "e-2");
    stream(wrong.response, connected("e-2", { userId: "7" }) + notification(3));
    const anew = await requests.next();
    assert.equal(anew.headers["last-event-id"], undefined);
    assert.equal(storage.getItem(key), null);
    stream(anew.response, connected("e-9", { userId: "7" }));
    assert.equal(await storage.stored.next(), JSON.stringify({ userId: "7", lastEventId: "e-9" }));
    assert.equal(another.connection.info.userId, "7");
  });

  test("storage that throws or holds rubbish costs nothing but the place", within, async (t) => {
    const broken = () => {
      throw new Error("forbidden");
    };
    for (const storage of [
      { getItem: broken, setItem: broken, removeItem: broken },
      { getItem: () => "{rubbish", setItem() {}, removeItem() {} },
      { getItem: () => '{"lastEventId":"é"}', setItem() {}, removeItem() {} },
    ]) {
      fakeStorage(t, storage);
      const { connection, next } = client(t, { persist: true });
      const { headers, response } = await requests.next();
      assert.equal(headers["last-event-id"], undefined);
      stream(response, connected("e-1") + notification(2));
      assert.equal((await next("notification")).message, "m2");
      connection.close();
    }
  });
});

test("the file stays under 6 KB gzipped", () => {
  assert.ok(gzipSync(source, { level: 9 }).length < 6 * 1_024);
});
