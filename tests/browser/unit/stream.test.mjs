// One tab and its stream: every way in which a hub, a network or a computer can let it down, in pretended time.

import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";

import { CampanileError, EventStreamParser } from "../../../static/campanile.js";
import { Browser } from "./browser.mjs";
import { ModelHub } from "./model-hub.mjs";

let hub;
let browser;

beforeEach(() => {
  vi.useFakeTimers();
  hub = new ModelHub();
  hub.identities.set("cookie", { user: "42" });
  browser = new Browser({ hub, random: () => 0 });
  browser.cookie = "cookie";
});

afterEach(() => {
  vi.useRealTimers();
});

const pass = (ms = 100) => vi.advanceTimersByTimeAsync(ms);

async function open(options) {
  const tab = browser.open(options);
  await pass();
  return tab;
}

const refusal = (status, headers) => () => new Response(status === 204 ? null : "", { status, headers });
const lastState = (tab) => tab.all("state").at(-1);
const streamRequests = () => hub.requests.filter(({ url }) => url.pathname.endsWith("/stream"));

describe("a status", () => {
  const statuses = [200, 201, 204, 206, 301, 304, 400, 402, 403, 404, 405, 406, 408, 409, 410, 418, 421, 425, 429, 431, 451];
  const servers = [500, 501, 502, 503, 504, 505, 507, 511, 520, 524, 599];

  test.each([...statuses, ...servers])("%i does not silence it", async (status) => {
    hub.trouble.push(status === 304 ? () => ({ status, ok: false, headers: new Headers() }) : refusal(status));
    const tab = await open();
    const [error] = tab.all("error");
    expect(error).toMatchObject(
      status === 200 ? { code: "not-a-stream", fatal: false } : { code: "status", status, fatal: false, retryAfterMs: 0 },
    );
    expect(error.message).not.toBe("");
    await pass(2_000);
    expect(tab.connection.state).toBe("open");
    expect(tab.all("error")).toHaveLength(1);
  });

  test("401 stops it when it comes twice, in words that say what to do", async () => {
    browser.cookie = "expired";
    const tab = await open();
    expect(tab.connection.state).toBe("closed");
    expect(tab.all("error")).toMatchObject([{ code: "unauthorized", status: 401, fatal: true }]);
    expect(tab.all("error")[0].message).toMatch(/sign in/i);
    await pass(600_000);
    expect(hub.attempts).toBe(2);
    browser.cookie = "cookie";
    tab.connection.reconnect();
    await pass();
    expect(tab.connection.state).toBe("open");
  });

  test("401 once, and getToken is asked again and told why", async () => {
    hub.identities.set("good", { user: "42" });
    const asked = [];
    const tab = await open({ getToken: ({ refused }) => (asked.push(refused), refused ? "good" : "stale") });
    expect(tab.connection.state).toBe("open");
    expect(asked).toEqual([false, true]);
    expect(tab.all("error")).toEqual([]);
  });

  test("a 401 that comes again and again between others does not stop it", async () => {
    for (let i = 0; i < 5; i++) hub.trouble.push(refusal(401), refusal(503));
    const tab = await open();
    await pass(120_000);
    expect(tab.connection.state).toBe("open");
  });
});

describe("Retry-After", () => {
  const now = Date.parse("2026-11-21T01:30:17Z");
  test.each([
    ["120", 120_000],
    ["0", 0],
    ["1", 1_000],
    ["999999999", 600_000],
    ["Sat, 21 Nov 2026 01:31:17 GMT", 60_000],
    ["Saturday, 21-Nov-26 01:31:17 GMT", 60_000],
    ["Sat, 21 Nov 2026 01:29:00 GMT", 0],
    ["Sat, 21 Nov 2099 01:29:00 GMT", 600_000],
    ["-5", 0],
    ["soon", 0],
    ["", 0],
  ])("of %j asks for %i ms", async (header, ms) => {
    vi.setSystemTime(now);
    hub.trouble.push(refusal(503, { "retry-after": header }));
    const tab = await open();
    const { error, retryInMs } = tab.all("state").find(({ state }) => state === "waiting");
    expect(Math.abs(error.retryAfterMs - ms)).toBeLessThan(100);
    expect(Math.abs(retryInMs - ms)).toBeLessThan(100);
    await pass(ms - 1_000 < 0 ? 0 : ms - 1_000);
    if (ms > 1_000) expect(hub.attempts).toBe(1);
    await pass(2_000);
    expect(hub.attempts).toBe(2);
  });
});

describe("a stream that is cut", () => {
  const connected = { type: "connected", userId: "42", connectionId: "c", timestamp: 1, data: { roles: [], heartbeatSeconds: 15 } };
  const notification = (n) => {
    const data = { notificationId: `ne${n}`, message: `déjà vu 🔔 ${n}`, severity: "low" };
    return { type: "notification", notificationId: `ne${n}`, timestamp: n, data };
  };
  const script = () =>
    new TextEncoder().encode(
      `retry: 1000\n${hub.event(connected, "e-0")}: a comment\n\n${hub.event(notification(1), "e-1")}` +
        `${hub.event({ type: "status", data: { unread: 1 } })}${hub.event(notification(2), "e-2")}` +
        hub.event({ type: "heartbeat", timestamp: 2 }, "e-2"),
    );
  const cutAfter = (bytes) => () => {
    const body = new ReadableStream({
      start(controller) {
        controller.enqueue(bytes);
        setTimeout(() => controller.error(new TypeError("terminated")), 10);
      },
    });
    return new Response(body, { headers: { "content-type": "text/event-stream" } });
  };

  test("at any byte, goes on from the last whole event and shows each once", async () => {
    hub.publish({ user: "42" });
    hub.publish({ user: "42" });
    const bytes = script();
    for (let cut = 0; cut <= bytes.length; cut++) {
      browser.stored.clear();
      hub.trouble = [cutAfter(bytes.slice(0, cut))];
      const tab = await open({ lastEventId: "e-0" });
      await pass(2_000);
      expect(tab.shown, `cut at ${cut}`).toEqual(["ne1", "ne2"]);
      expect(tab.all("error").map(({ code }) => code), `cut at ${cut}`).toEqual(["network"]);
      tab.close();
      await pass();
    }
  });

  test("before it has said anything, at any length of silence, is one attempt among others", async () => {
    hub.trouble.push(({ init: { signal } }) => {
      const start = (controller) => signal.addEventListener("abort", () => controller.error(signal.reason));
      return new Response(new ReadableStream({ start }), { headers: { "content-type": "text/event-stream" } });
    });
    const tab = await open();
    await pass(33_000);
    expect(tab.all("error")).toMatchObject([{ code: "silent" }]);
    await pass(2_000);
    expect(tab.connection.state).toBe("open");
  });

  test("in an orderly way says so, and is resumed", async () => {
    const tab = await open();
    const id = hub.publish({ user: "42" });
    await pass();
    hub.end();
    await pass();
    expect(lastState(tab)).toMatchObject({ state: "waiting", reason: "ended" });
    const next = hub.publish({ user: "42" });
    await pass(2_000);
    expect(tab.shown).toEqual([id, next]);
    expect(streamRequests().at(-1).init.headers["last-event-id"]).toBe("e-1");
  });

  test("by a bye comes back when that says, that once", async () => {
    const tab = await open();
    hub.end(`retry: 60000\n${hub.event({ type: "bye", data: { reason: "busy" } })}`);
    await pass();
    expect(lastState(tab)).toMatchObject({ state: "waiting", reason: "busy", retryInMs: 60_000, error: undefined });
    expect(tab.all("error")).toEqual([]);
    tab.window.dispatchEvent(new Event("online"));
    await pass(59_000);
    expect(hub.attempts).toBe(1);
    hub.trouble.push(refusal(502));
    await pass(2_000);
    expect(lastState(tab)).toMatchObject({ state: "open" });
    expect(tab.all("state").find(({ error }) => error)?.retryInMs).toBe(0);
  });
});

describe("heartbeats", () => {
  test("that stop end the stream after two", async () => {
    const tab = await open();
    for (let i = 0; i < 5; i++) {
      await pass(15_000);
      hub.heartbeat();
    }
    await pass(31_000);
    expect(tab.connection.state).toBe("open");
    await pass(3_000);
    expect(tab.all("error")).toMatchObject([{ code: "silent" }]);
    expect(hub.streams).toEqual([]);
    await pass(1_000);
    expect(tab.connection.state).toBe("open");
  });

  test("are as far apart as the hub says", async () => {
    hub.heartbeatSeconds = 60;
    const tab = await open();
    await pass(120_000);
    expect(tab.all("error")).toEqual([]);
    await pass(20_000);
    expect(tab.all("error")).toMatchObject([{ code: "silent" }]);
  });

  test("carry a place, from which a quiet user's stream goes on", async () => {
    const tab = await open();
    hub.publish({ user: "7" });
    hub.heartbeat();
    await pass();
    hub.end();
    await pass(2_000);
    expect(streamRequests().at(-1).init.headers["last-event-id"]).toBe("e-1");
    expect(tab.shown).toEqual([]);
  });

  test.each(["online", "pageshow", "visibilitychange"])("that stood still with the computer are missed upon %s", async (type) => {
    const tab = await open();
    vi.setSystemTime(Date.now() + 3_600_000); // no timer has run
    tab.window.dispatchEvent(new Event(type));
    await pass();
    expect(hub.attempts).toBe(2);
    expect(tab.connection.state).toBe("open");
  });

  test("that have not stopped are not, and the stream stays", async () => {
    const tab = await open();
    tab.window.dispatchEvent(new Event("online"));
    tab.hide();
    tab.show();
    await pass(1_000);
    expect(hub.attempts).toBe(1);
  });
});

describe("an event that nobody expected", () => {
  test.each([
    ["without data", { type: "status" }],
    ["with data that is null", { type: "heartbeat", data: null }],
    ["of a type to come", { type: "later-invention", data: { a: 1 } }],
    ["without a type", { data: {} }],
    ["that is null", null],
    ["that is a list", []],
    ["that is text", "text"],
    ["named like what only the client says", { type: "error", data: {} }],
  ])("%s harms nothing", async (_, message) => {
    const tab = await open();
    hub.streams[0].send(`data: ${JSON.stringify(message)}\n\n`);
    const id = hub.publish({ user: "42" });
    await pass();
    expect(tab.shown).toEqual([id]);
    expect(tab.all("error")).toEqual([]);
    expect(hub.attempts).toBe(1);
  });

  test("that is no JSON is reported and passed over", async () => {
    const tab = await open();
    hub.streams[0].send("data: {broken\n\n");
    const id = hub.publish({ user: "42" });
    await pass();
    expect(tab.shown).toEqual([id]);
    expect(tab.all("error")).toMatchObject([{ code: "malformed", fatal: false }]);
  });

  test("that never ends is cut off", async () => {
    const tab = await open();
    hub.streams[0].send("data: ");
    for (let i = 0; i <= 16; i++) hub.streams[0].send("x".repeat(1 << 16));
    await pass(2_000);
    expect(tab.all("error")).toMatchObject([{ code: "malformed" }]);
    expect(hub.attempts).toBe(2);
  });

  test("has no id to be known again by, and is shown each time", async () => {
    const tab = await open();
    for (let i = 0; i < 2; i++) hub.streams[0].send(hub.event({ type: "notification", data: { message: `${i}` } }));
    await pass();
    expect(tab.all("notification")).toEqual([{ message: "0" }, { message: "1" }]);
  });

  test("in which the hub does not say how often its heartbeat comes, leaves it at 15 s", async () => {
    hub.heartbeatSeconds = 0;
    const tab = await open();
    await pass(30_000);
    expect(tab.connection.state).toBe("open");
    expect(hub.attempts).toBe(1);
  });
});

describe("10,000 notifications", () => {
  test("are shown once each, without growth", async () => {
    const tab = await open();
    for (let n = 0; n < 10_000; n++) {
      hub.publish({ user: "42" });
      if (n % 500 === 0) await pass();
    }
    await pass();
    expect(tab.shown).toHaveLength(10_000);
    expect(new Set(tab.shown).size).toBe(10_000);
    // What it remembers is the newest 1,000: it takes the one before for new.
    const again = (n) => ({ type: "notification", notificationId: `ne${n}`, data: { notificationId: `ne${n}` } });
    for (const n of [10_000, 9_001, 9_000]) hub.streams[0].send(hub.event(again(n)));
    await pass();
    expect(tab.shown.slice(10_000)).toEqual(["ne9000"]);
    expect(browser.stored.size).toBe(1);
  });
});

describe("across reloads", () => {
  const key = "campanile:http://hub.example/notifications/stream";

  test("it goes on from the stored place", async () => {
    const before = await open();
    hub.publish({ user: "42" });
    await pass();
    expect(JSON.parse(browser.stored.get(key))).toEqual({ userId: "42", lastEventId: "e-1" });
    before.close();
    const missed = hub.publish({ user: "42" });
    const after = await open();
    expect(after.shown).toEqual([missed]);
  });

  test("an event is only stored once it has been shown", async () => {
    const tab = await open();
    hub.heartbeat();
    await pass();
    const places = [];
    tab.connection.addEventListener("notification", () => {
      places.push(JSON.parse(browser.stored.get(key)).lastEventId, tab.connection.lastEventId);
    });
    hub.publish({ user: "42" });
    await pass();
    expect(places).toEqual(["e-0", "e-1"]);
    expect(JSON.parse(browser.stored.get(key)).lastEventId).toBe("e-1");
  });

  test("another user's place is dropped, and nothing of that user is shown", async () => {
    const before = await open();
    hub.publish({ user: "42" });
    await pass();
    before.close();
    hub.identities.set("other", { user: "7" });
    browser.cookie = "other";
    hub.publish({ user: "42" });
    const after = await open();
    expect(after.all("connected")).toMatchObject([{ userId: "7" }]);
    expect(after.shown).toEqual([]);
    expect(streamRequests().map(({ init }) => init.headers["last-event-id"])).toEqual([undefined, "e-1", undefined]);
    expect(browser.stored.size).toBe(0);
    hub.heartbeat();
    await pass();
    expect(JSON.parse(browser.stored.get(key))).toEqual({ userId: "7", lastEventId: "e-2" });
  });

  test("persist: false keeps nothing", async () => {
    const tab = await open({ persist: false });
    hub.publish({ user: "42" });
    await pass();
    expect(tab.shown).toHaveLength(1);
    expect(browser.stored.size).toBe(0);
  });

  test("what is given wins over what is stored", async () => {
    browser.stored.set(key, JSON.stringify({ userId: "42", lastEventId: "e-9" }));
    await open({ lastEventId: "e-0" });
    expect(streamRequests()[0].init.headers["last-event-id"]).toBe("e-0");
  });

  test.each([
    ["rubbish", "{rubbish"],
    ["null", "null"],
    ["a number", "1"],
    ["a place that no header could carry", '{"userId":"42","lastEventId":"é"}'],
    ["no place", '{"userId":"42"}'],
    ["a place that is no text", '{"userId":"42","lastEventId":{"a":1}}'],
  ])("%s in the storage costs the place and no more", async (_, stored) => {
    browser.stored.set(key, stored);
    const tab = await open();
    expect(tab.connection.state).toBe("open");
    const id = hub.publish({ user: "42" });
    await pass();
    expect(tab.shown).toEqual([id]);
  });

  test("without localStorage it works all the same", async () => {
    browser = new Browser({ hub, without: ["localStorage"] });
    browser.cookie = "cookie";
    const tab = await open();
    const id = hub.publish({ user: "42" });
    await pass();
    expect(tab.shown).toEqual([id]);
  });
});

describe("after a gap", () => {
  /** A tab that comes back from a place that is no longer kept. */
  async function gone(options) {
    const tab = await open(options);
    hub.end();
    hub.down = true;
    await pass();
    const ids = [hub.publish({ user: "42" }), hub.publish({ user: "42" }), hub.publish({ user: "42" })];
    hub.floor = hub.log.length;
    return { tab, ids, back: () => ((hub.down = false), tab.window.dispatchEvent(new Event("online")), pass()) };
  }

  test("what is unread is handed over, oldest first, then the gap with the inbox", async () => {
    const { tab, ids, back } = await gone();
    hub.read.add(ids[1]);
    await back();
    const order = tab.told.filter(([type]) => ["notification", "gap"].includes(type)).map(([type]) => type);
    expect(order).toEqual(["notification", "notification", "gap"]);
    expect(tab.shown).toEqual([ids[0], ids[2]]);
    const [gap] = tab.all("gap");
    expect(gap).toMatchObject({ scope: "inbox", unread: 2, nextCursor: null });
    expect(gap.notifications.map(({ notificationId }) => notificationId)).toEqual([...ids].reverse());
    expect(tab.connection.unread).toBe(2);
  });

  test("what the page has seen already is not shown again, and live ones go on meanwhile", async () => {
    const { tab, ids, back } = await gone();
    let answer;
    hub.inboxTrouble.push(() => new Promise((resolve) => (answer = resolve)));
    await back();
    const live = hub.publish({ user: "42" });
    await pass();
    expect(tab.shown).toEqual([live]);
    const item = (notificationId) => ({ notificationId, read: false, createdAt: "2026-11-21T01:30:17.731Z" });
    answer(Response.json({ notifications: [live, ...[...ids].reverse()].map(item), unread: 4, nextCursor: null }));
    await pass();
    expect(tab.shown).toEqual([live, ...ids]);
  });

  test("an inbox that does not answer is asked again, five times, and each time it is said", async () => {
    const { tab, ids, back } = await gone();
    hub.inboxTrouble.push(refusal(503, { "retry-after": "20" }), refusal(502), () => Promise.reject(new TypeError("offline")));
    await back();
    expect(tab.all("error").at(-1)).toMatchObject({ code: "inbox", fatal: false, cause: { status: 503 } });
    const keep = setInterval(() => hub.heartbeat(), 15_000);
    await pass(19_000);
    expect(tab.all("error").filter(({ code }) => code === "inbox")).toHaveLength(1);
    await pass(60_000);
    expect(tab.all("error").filter(({ code }) => code === "inbox")).toHaveLength(3);
    expect(tab.shown).toEqual(ids);
    expect(tab.all("gap")).toHaveLength(1);
    clearInterval(keep);
  });

  test("an inbox that never answers leaves the gap to be told without it", async () => {
    const { tab, back } = await gone();
    hub.inboxTrouble = Array.from({ length: 10 }, () => refusal(404));
    await back();
    await pass(1_000);
    expect(tab.all("gap")).toEqual([{ scope: "inbox" }]);
    expect(tab.all("error").filter(({ code }) => code === "inbox")).toHaveLength(5);
    expect(hub.requests.filter(({ url }) => url.pathname === "/notifications")).toHaveLength(5);
    expect(tab.connection.state).toBe("open");
  });

  test("the place is not stored before the gap is told, so that a reload hears of it again", async () => {
    const { tab, back } = await gone();
    hub.inboxTrouble.push(() => new Promise(() => {}));
    await back();
    hub.heartbeat();
    await pass();
    tab.close();
    const reloaded = await open();
    expect(reloaded.all("gap")).toHaveLength(1);
  });

  test("nothing is told after close(), and all of it after reconnect()", async () => {
    const { tab, ids, back } = await gone();
    let answer;
    hub.inboxTrouble.push(() => new Promise((resolve) => (answer = resolve)));
    await back();
    tab.connection.close();
    const told = tab.told.length;
    answer(Response.json({ notifications: [], unread: 0, nextCursor: null }));
    await pass();
    expect(tab.told).toHaveLength(told);
    tab.connection.reconnect();
    await pass();
    expect(tab.all("gap")).toHaveLength(1);
    expect(tab.shown).toEqual(ids);
  });

  test("another user by then is told nothing of it", async () => {
    const { tab, back } = await gone();
    let answer;
    hub.inboxTrouble.push(() => new Promise((resolve) => (answer = resolve)));
    await back();
    hub.identities.set("cookie", { user: "7" });
    hub.end();
    await pass(2_000);
    answer(Response.json({ notifications: [{ notificationId: "theirs", read: false }], unread: 1 }));
    await pass();
    expect(tab.connection.info.userId).toBe("7");
    expect(tab.shown).toEqual([]);
    expect(tab.all("gap")).toEqual([]);
  });
});

describe("the inbox", () => {
  test("is fetched with the stream's credentials, and what goes wrong is told", async () => {
    hub.identities.set("t", { user: "42" });
    const { connection } = await open({ token: "t" });
    const id = hub.publish({ user: "42" });
    const [inbox] = await Promise.all([connection.inbox(), pass()]);
    expect(inbox).toMatchObject({ unread: 1, nextCursor: null, notifications: [{ notificationId: id, read: false }] });
    expect(hub.requests.at(-1).url.href).toBe("http://hub.example/notifications?limit=100");
    expect(hub.requests.at(-1).init.headers.authorization).toBe("Bearer t");
    hub.inboxTrouble.push(refusal(500));
    await expect(Promise.all([connection.inbox(), pass()])).rejects.toMatchObject({ code: "status", status: 500 });
  });
});

describe("marking read", () => {
  test("posts beside the stream, with the same credentials", async () => {
    hub.identities.set("t", { user: "42" });
    const { connection } = await open({ token: "t", withCredentials: true });
    const id = hub.publish({ user: "42" });
    await Promise.all([connection.markRead("a/b c"), pass()]);
    await Promise.all([connection.markAllRead("e-1"), pass()]);
    await Promise.all([connection.markAllRead(), pass()]);
    const [one, upTo, all] = hub.requests.slice(-3);
    expect(one.url.href).toBe("http://hub.example/notifications/a%2Fb%20c/read");
    expect(one.init).toMatchObject({ method: "POST", body: undefined, credentials: "include", headers: { authorization: "Bearer t" } });
    expect(upTo.url.href).toBe("http://hub.example/notifications/read-all");
    expect(upTo.init).toMatchObject({ method: "POST", body: '{"upTo":"e-1"}', headers: { "content-type": "application/json" } });
    expect(all.init.body).toBe(undefined);
    expect(all.init.headers).not.toHaveProperty("content-type");
    expect(id).toBe("ne1");
  });

  test("asks getToken again upon a 401, and no more than that", async () => {
    hub.identities.set("new", { user: "42" });
    hub.identities.set("old", { user: "42" });
    let token = "old";
    const asked = [];
    const { connection } = await open({ getToken: ({ refused }) => (asked.push(refused), token) });
    hub.identities.delete("old");
    token = "new";
    await Promise.all([connection.markRead("x"), pass()]);
    expect(asked).toEqual([false, true]);
    token = "bad";
    hub.identities.clear();
    const [error] = await Promise.all([connection.markRead("x").catch((error) => error), pass()]);
    expect(error).toMatchObject({ name: "CampanileError", code: "unauthorized", status: 401, fatal: false });
    expect(asked).toEqual([false, true, true]);
    expect(connection.state).toBe("open");
  });

  test.each([
    [404, { code: "status", status: 404 }],
    [429, { code: "status", status: 429, retryAfterMs: 7_000 }],
    [500, { code: "status", status: 500 }],
  ])("rejects with what the hub answered: %i", async (status, expected) => {
    const { connection } = await open();
    const { fetch } = hub;
    hub.fetch = () => Promise.resolve(new Response("", { status, headers: status === 429 ? { "retry-after": "7" } : {} }));
    await expect(connection.markRead("x")).rejects.toMatchObject(expected);
    hub.fetch = () => Promise.reject(new TypeError("offline"));
    await expect(connection.markAllRead()).rejects.toMatchObject({ code: "network", cause: { message: "offline" } });
    hub.fetch = fetch;
  });
});

describe("credentials", () => {
  test("a cookie goes to the page's own origin, or to another's if asked", async () => {
    await open();
    await open({ withCredentials: true, shared: false });
    expect(hub.requests.map(({ init }) => init.credentials)).toEqual(["same-origin", "include"]);
    expect(hub.requests[0].init.headers).not.toHaveProperty("authorization");
  });

  test("getToken is asked once for each attempt, and may fail, throw or never answer", async () => {
    hub.identities.set("t", { user: "42" });
    const answers = [
      () => Promise.reject(new Error("offline")),
      () => {
        throw new Error("thrown");
      },
      () => new Promise(() => {}),
      () => "t",
    ];
    const tab = await open({ getToken: () => answers.shift()() });
    await pass(1_000);
    await pass(1_000);
    expect(tab.all("error")).toMatchObject([
      { code: "token", cause: { message: "offline" } },
      { code: "token", cause: { message: "thrown" } },
    ]);
    await pass(40_000);
    expect(tab.all("error").at(-1)).toMatchObject({ code: "silent" });
    await pass(10_000);
    expect(tab.connection.state).toBe("open");
  });

  describe("as a ticket for an EventSource", () => {
    const eventsource = { transport: "eventsource", withCredentials: true, token: "t" };

    beforeEach(() => {
      hub.identities.set("t", { user: "42" });
      browser.cookie = null;
    });

    test("are asked for with the token, and sent in the URL", async () => {
      const tab = await open({ ...eventsource, url: "http://hub.example/notifications/stream?tenant=a" });
      const [post, source] = hub.requests;
      expect(post.url.href).toBe("http://hub.example/notifications/stream/ticket?tenant=a");
      expect(post.init).toMatchObject({ method: "POST", headers: { authorization: "Bearer t" } });
      expect(Object.fromEntries(source.url.searchParams)).toEqual({ tenant: "a", ticket: "t0", lastEventId: "", events: "unnamed" });
      expect(tab.connection.state).toBe("open");
      const ids = [hub.publish({ user: "42", message: "a\u2028b" }), hub.publish({ user: "42" })];
      await pass();
      expect(tab.shown).toEqual(ids);
      expect(tab.connection.lastEventId).toBe("e-2");
    });

    test("are new after every end, and the stream goes on from the last id", async () => {
      const tab = await open(eventsource);
      const first = hub.publish({ user: "42" });
      await pass();
      hub.end();
      await pass();
      expect(lastState(tab)).toMatchObject({ state: "waiting", reason: "ended" });
      const second = hub.publish({ user: "42" });
      await pass(2_000);
      expect(tab.shown).toEqual([first, second]);
      const sources = hub.requests.filter(({ eventSource }) => eventSource).map(({ url }) => url.searchParams);
      expect(sources.map((query) => query.get("ticket"))).toEqual(["t0", "t1"]);
      expect(sources[1].get("lastEventId")).toBe("e-1");
    });

    test("that are refused twice stop it", async () => {
      hub.identities.clear();
      const tab = await open(eventsource);
      expect(tab.all("error")).toMatchObject([{ code: "unauthorized", fatal: true }]);
    });

    test("a last word and silence end it as they end any stream", async () => {
      const tab = await open(eventsource);
      hub.end(hub.event({ type: "bye", data: { reason: "reauth" } }));
      await pass();
      expect(tab.all("state").find(({ state }) => state === "waiting")).toMatchObject({ reason: "reauth" });
      await pass(35_000);
      expect(tab.all("error")).toMatchObject([{ code: "silent" }]);
      tab.connection.close();
      await pass();
      expect(hub.streams).toEqual([]);
    });

    test("where the browser has no EventSource, it says so and tries no faster than it should", async () => {
      browser = new Browser({ hub, without: ["EventSource"] });
      const tab = await open(eventsource);
      await pass(60_000);
      expect(tab.all("error")[0].message).toMatch(/EventSource/);
      expect(hub.requests.length).toBeLessThan(100);
    });
  });
});

describe("on the desktop", () => {
  const notify = (link) => {
    const data = { notificationId: "d", title: "Order", message: "New order", link };
    hub.streams[0].send(hub.event({ type: "notification", notificationId: `d${link}`, data }));
  };

  test("only what nobody looks at is shown, by the leading tab alone", async () => {
    const tabs = [await open({ desktopNotifications: true }), await open({ desktopNotifications: true })];
    notify("/a");
    await pass(5_000);
    tabs[0].hide();
    notify("/b");
    await pass(5_000);
    expect(tabs.flatMap(({ desktop }) => desktop)).toEqual([]);
    tabs[1].hide();
    notify("/c");
    await pass(5_000);
    expect(tabs[0].desktop).toMatchObject([{ title: "Order", body: "New order", tag: "d" }]);
    expect(tabs[1].desktop).toEqual([]);
  });

  test("of a burst, the newest", async () => {
    const tab = await open({ desktopNotifications: true });
    tab.hide();
    for (let i = 0; i < 50; i++) hub.publish({ user: "42", message: `m${i}` });
    await pass(5_000);
    expect(tab.desktop.map(({ title }) => title)).toEqual(["m49"]);
  });

  test("nothing without being asked for, or allowed", async () => {
    const tab = await open();
    tab.hide();
    hub.publish({ user: "42" });
    await pass(5_000);
    tab.close();
    for (const permission of ["default", "denied"]) {
      const asking = browser.open({ desktopNotifications: true, shared: false });
      asking.permission = permission;
      asking.hide();
      await pass();
      hub.publish({ user: "42" });
      await pass(5_000);
      expect(asking.desktop).toEqual([]);
      asking.close();
    }
    expect(tab.desktop).toEqual([]);
  });

  test("what a function makes of it, or nothing", async () => {
    const show = ({ link }) => (link === "/quiet" ? null : { title: "Mine", icon: "/bell.png" });
    const tab = await open({ desktopNotifications: show });
    tab.hide();
    notify("/quiet");
    await pass(5_000);
    notify("/loud");
    await pass(5_000);
    expect(tab.desktop).toMatchObject([{ title: "Mine", icon: "/bell.png", tag: "d" }]);
  });

  test.each([
    ["https://example.com/a", true],
    ["http://example.com/a", true],
    ["/orders/1", true],
    ["orders/1", true],
    ["javascript:alert(1)", false],
    ["data:text/html,<script>alert(1)</script>", false],
    ["blob:http://app.example/1", false],
    [" javascript:alert(1)", false],
    [undefined, false],
  ])("a click on %j comes to the front; follows it: %s", async (link, followed) => {
    const tab = await open({ desktopNotifications: true });
    tab.hide();
    notify(link);
    await pass(5_000);
    tab.desktop[0].onclick();
    expect(tab.told.filter(([type]) => type === "focus")).toHaveLength(1);
    expect(tab.desktop[0].closed).toBe(true);
    expect(tab.told.filter(([type]) => type === "open")).toEqual(followed ? [["open", [link, "_blank", "noopener"]]] : []);
  });
});

describe("what is exported", () => {
  test("an error says what it is", () => {
    const cause = new Error("below");
    const error = new CampanileError("status", "The hub answered 503.", { status: 503, retryAfterMs: 1, cause });
    expect(error).toBeInstanceOf(Error);
    expect(error).toMatchObject({ name: "CampanileError", code: "status", status: 503, retryAfterMs: 1, fatal: false, cause });
    expect(String(error)).toBe("CampanileError: The hub answered 503.");
    expect(new CampanileError("ended", "x").fatal).toBe(false);
  });

  test("the parser reads a stream that is cut at any byte, however it ends its lines", () => {
    const text = "retry: 10\n: c\nid: e-1\nevent: x\ndata: {\"a\":1}\ndata:  b\n\ndata\n\nid: e-2\n\ndata: rest";
    for (const ending of ["\n", "\r\n", "\r"]) {
      const whole = text.replaceAll("\n", ending);
      for (let cut = 0; cut <= whole.length; cut++) {
        const parser = new EventStreamParser("e-0");
        const events = [whole.slice(0, cut), whole.slice(cut)].flatMap((part) => [...parser.push(part)]);
        expect(events).toEqual([
          { type: "x", data: '{"a":1}\n b', lastEventId: "e-1" },
          { type: "message", data: "", lastEventId: "e-1" },
        ]);
        expect(parser).toMatchObject({ retry: 10, lastEventId: "e-2" });
      }
    }
  });

  test("the parser takes an id only if a header can carry it, and a retry only if it is a number", () => {
    const parser = new EventStreamParser();
    for (const line of ["id: a", "id: b\0c", "id: é", "retry: -1", "retry: 1e3", "retry", "retry: 5", "retry: x", "retry: 99999999"]) {
      [...parser.push(`${line}\n`)];
    }
    [...parser.push("\n")];
    expect(parser.lastEventId).toBe("a");
    expect(parser.retry).toBe(600_000);
  });
});
