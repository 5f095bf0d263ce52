// Many tabs, one stream: whoever leads, whatever happens to the tabs, each page is shown everything that is for its user,
// once, in order, and nothing else.

import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";

import { Browser } from "./browser.mjs";
import { ModelHub } from "./model-hub.mjs";

let hub;
let browser;

beforeEach(() => {
  vi.useFakeTimers();
  hub = new ModelHub();
  hub.identities.set("cookie", { user: "42", roles: ["ADMIN"] });
  browser = new Browser({ hub });
  browser.cookie = "cookie";
});

afterEach(() => {
  vi.useRealTimers();
});

/** Lets everything happen that is to happen within this time; by default, what is under way. */
const pass = (ms = 100) => vi.advanceTimersByTimeAsync(ms);
const minutes = (count) => count * 60_000;

/** Tabs that share a stream, the first of which leads. */
async function open(count, options) {
  const tabs = [];
  for (let i = 0; i < count; i++) {
    tabs.push(browser.open(options));
    await pass(100);
  }
  return tabs;
}

const leader = () => browser.locks.holder(browser.locks.names().find((name) => browser.locks.holder(name)));

const beats = (count) => pass(count * hub.heartbeatSeconds * 1_000);

/** Time passes while the hub's heartbeat goes on. */
async function live(count) {
  for (let i = 0; i < count; i++) {
    hub.heartbeat();
    await beats(1);
  }
}

const publish = (draft = { user: "42" }) => hub.publish(draft);
const shown = (tabs) => tabs.map((tab) => tab.shown);
const states = (tabs) => tabs.map((tab) => tab.connection.state);

describe("five tabs", () => {
  let tabs;

  beforeEach(async () => {
    tabs = await open(5);
  });

  test("hold one stream, and each shows everything once", async () => {
    expect(hub.streams).toHaveLength(1);
    const ids = [publish(), publish(), publish({ role: "ADMIN" })];
    await pass();
    for (const tab of tabs) {
      expect(tab.shown).toEqual(ids);
      expect(tab.connection).toMatchObject({ state: "open", lastEventId: hub.id() });
      expect(tab.connection.info).toMatchObject({ userId: "42", roles: ["ADMIN"] });
      expect(tab.all("error")).toEqual([]);
    }
  });

  test("each hear of heartbeats, and of what has no place in the log", async () => {
    const id = hub.ephemeral({ user: "42" });
    hub.heartbeat();
    await pass();
    for (const tab of tabs) {
      expect(tab.shown).toEqual([id]);
      expect(tab.all("heartbeat")).toHaveLength(1);
    }
  });

  test("go on from where they are when the leader is gone without a word", async () => {
    const before = publish();
    await pass();
    leader().close();
    const meanwhile = publish();
    await pass();
    const after = publish();
    await pass();
    expect(shown(browser.living)).toEqual(Array(4).fill([before, meanwhile, after]));
    expect(hub.streams).toHaveLength(1);
    expect(leader()).toBe(tabs[1]);
    expect(states(browser.living)).toEqual(Array(4).fill("open"));
  });

  test("go on when one of them calls close(), be it the leader or not", async () => {
    tabs[3].connection.close();
    tabs[0].connection.close();
    await pass();
    const id = publish();
    await pass();
    expect(shown(tabs)).toEqual([[], [id], [id], [], [id]]);
    expect(states(tabs)).toEqual(["closed", "open", "open", "closed", "open"]);
    expect(hub.streams).toHaveLength(1);
    tabs[0].connection.reconnect();
    await pass();
    expect(tabs[0].shown).toEqual([id]);
    expect(leader()).toBe(tabs[1]);
    expect(hub.streams).toHaveLength(1);
  });

  test("come back through one stream after a restart of the hub", async () => {
    hub.attempts = 0;
    hub.end(`retry: 4000\n${hub.event({ type: "bye", data: { reason: "draining" } })}`);
    await pass();
    for (const tab of tabs) {
      const { state, reason, retryInMs } = tab.all("state").at(-1);
      expect([state, reason, Math.ceil(retryInMs / 100)]).toEqual(["waiting", "draining", 45]);
    }
    const id = publish();
    await pass(4_500);
    expect(hub.attempts).toBe(1);
    expect(shown(tabs)).toEqual(Array(5).fill([id]));
    expect(states(tabs)).toEqual(Array(5).fill("open"));
    expect(tabs.map((tab) => tab.all("connected").length)).toEqual(Array(5).fill(2));
  });

  test("all try at once when the one in front is looked at, unless the hub asked for patience", async () => {
    for (const tab of tabs) tab.hide();
    hub.down = true;
    hub.end();
    await pass(minutes(2));
    expect(states(tabs)).toEqual(Array(5).fill("waiting"));
    hub.down = false;
    tabs[4].show();
    await pass();
    expect(states(tabs)).toEqual(Array(5).fill("open"));

    hub.trouble.push(new Response("", { status: 503, headers: { "retry-after": "300" } }));
    hub.end();
    await pass(5_000);
    tabs[4].hide();
    tabs[4].show();
    await pass(minutes(4));
    expect(states(tabs)).toEqual(Array(5).fill("waiting"));
    await pass(minutes(2));
    expect(states(tabs)).toEqual(Array(5).fill("open"));
  });

  test("do not wear the hub out while the leader waits, however long", async () => {
    hub.attempts = 0;
    hub.down = true;
    hub.end();
    await pass(minutes(30));
    // One row of attempts: 15 s apart, with the jitter at its middle.
    expect(hub.attempts).toBeLessThan(130);
    expect(leader()).toBe(tabs[0]);
  });

  test("keep the patience that the hub asked for when the leader is closed", async () => {
    hub.trouble.push(new Response("", { status: 503, headers: { "retry-after": "300" } }));
    hub.end();
    await pass(5_000);
    hub.attempts = 0;
    leader().close();
    await pass(minutes(4));
    expect(hub.attempts).toBe(0);
    expect(states(browser.living)).toEqual(Array(4).fill("waiting"));
    await pass(minutes(1));
    expect(hub.attempts).toBe(1);
    expect(states(browser.living)).toEqual(Array(4).fill("open"));
  });

  test("mark read in one, and all know the new count", async () => {
    const [first, second] = [publish(), publish()];
    await pass();
    await Promise.all([tabs[3].connection.markRead(first), pass()]);
    await pass();
    expect(tabs.map((tab) => tab.connection.unread)).toEqual(Array(5).fill(1));
    await Promise.all([tabs[4].connection.markAllRead(), pass()]);
    await pass();
    expect(tabs.map((tab) => tab.all("status").at(-1))).toEqual(Array(5).fill({ unread: 0 }));
    expect(hub.read).toEqual(new Set([first, second]));
  });

  test("let a sixth in, which knows what they know", async () => {
    publish();
    await pass();
    const [sixth] = await open(1);
    expect(sixth.connection).toMatchObject({ state: "open", unread: 1, lastEventId: hub.id() });
    expect(sixth.shown).toEqual([]);
    const id = publish();
    await pass();
    expect(sixth.shown).toEqual([id]);
    expect(hub.streams).toHaveLength(1);
  });

  test("tell a newcomer the count if the hub has not yet", async () => {
    publish();
    await pass();
    hub.slowToCount = true;
    const [sixth] = await open(1);
    expect(sixth.connection.unread).toBe(1);
  });

  test("do not draw one in that was just closed", async () => {
    tabs[0].close();
    tabs[1].connection.close(); // the lock is on its way to it
    await pass();
    expect(tabs[1].connection.state).toBe("closed");
    expect(hub.streams.map((stream) => stream.tab)).toEqual([tabs[2]]);
  });

  test("let one in that stands further back, and shows what they have long seen", async () => {
    const ids = [publish(), publish(), publish()];
    await pass();
    const [late] = await open(1, { lastEventId: hub.id(1) });
    await live(1);
    expect(late.shown).toEqual(ids.slice(1));
    expect(shown(tabs)).toEqual(Array(5).fill(ids));
    expect(hub.streams).toHaveLength(1);
  });

  test("notice an event that the channel has lost, and fetch it", async () => {
    const [channel] = [...browser.channels].filter(({ tab }) => tab === tabs[2]);
    const { onmessage } = channel;
    channel.onmessage = null;
    const lost = publish();
    await pass();
    channel.onmessage = onmessage;
    expect(tabs[2].shown).toEqual([]);
    const next = publish();
    await live(2);
    expect(tabs[2].shown).toEqual([lost, next]);
    expect(hub.streams).toHaveLength(1);
  });

  test("notice it by the next heartbeat, too, if it was the last", async () => {
    const [channel] = [...browser.channels].filter(({ tab }) => tab === tabs[2]);
    const { onmessage } = channel;
    channel.onmessage = null;
    const lost = publish();
    await pass();
    channel.onmessage = onmessage;
    await live(2);
    expect(tabs[2].shown).toEqual([lost]);
    expect(hub.streams).toHaveLength(1);
  });

  test("tell the inbox once after a gap, fetched once", async () => {
    leader().freeze(); // so that another takes over, from a place that is no longer kept
    const ids = [publish(), publish()];
    hub.floor = hub.log.length;
    hub.read.add(ids[0]);
    tabs[1].hide();
    tabs[1].show();
    await pass(2_000);
    await pass();
    const awake = tabs.slice(1);
    for (const tab of awake) {
      expect(tab.shown).toEqual([ids[1]]);
      expect(tab.all("gap")).toMatchObject([{ scope: "inbox", unread: 1, notifications: [{ read: false }, { read: true }] }]);
    }
    expect(hub.requests.filter(({ url }) => url.pathname === "/notifications")).toHaveLength(1);
  });

  test("tell of a gap although the leader is closed before the inbox has answered", async () => {
    hub.inboxTrouble.push(() => new Promise(() => {}));
    hub.renew();
    const id = publish();
    await pass(5_000);
    expect(tabs.flatMap((tab) => tab.all("gap"))).toEqual([]);
    leader().close();
    await pass();
    for (const tab of browser.living) {
      expect(tab.all("gap")).toMatchObject([{ scope: "epoch" }]);
      expect(tab.shown).toEqual([id]);
    }
  });
});

describe("a leader that is frozen", () => {
  test("is followed by another after two heartbeats without a word, and finds out when it thaws", async () => {
    const [frozen, ...tabs] = await open(3);
    frozen.freeze();
    const first = publish();
    await beats(2);
    expect(hub.streams).toHaveLength(1);
    await beats(2);
    const second = publish();
    await pass();
    expect(shown(tabs)).toEqual([[first, second], [first, second]]);
    expect(hub.streams).toHaveLength(2); // a frozen tab cannot end its own
    expect(tabs).toContain(leader());

    frozen.thaw();
    await live(1);
    expect(frozen.shown).toEqual([first, second]);
    expect(hub.streams).toHaveLength(1);
    expect(tabs).toContain(leader());
    const third = publish();
    await pass();
    expect(shown([frozen, ...tabs])).toEqual(Array(3).fill([first, second, third]));
  });

  test("is followed at once by one that is looked at", async () => {
    const [frozen, tab] = await open(2);
    tab.hide();
    frozen.freeze();
    const id = publish();
    await pass();
    expect(tab.shown).toEqual([]);
    tab.show();
    await pass(2_100);
    expect(tab.shown).toEqual([id]);
    expect(leader()).toBe(tab);
  });

  test("leads again when it is its turn", async () => {
    const [frozen, tab] = await open(2);
    frozen.freeze();
    await beats(4);
    expect(leader()).toBe(tab);
    frozen.thaw();
    await live(1);
    tab.close();
    await pass();
    expect(leader()).toBe(frozen);
    const id = publish();
    await pass();
    expect(frozen.shown).toEqual([id]);
  });

  test("does not hold up a new tab", async () => {
    const [frozen] = await open(1);
    frozen.freeze();
    const [tab] = await open(1);
    const id = publish();
    await pass();
    expect(tab.shown).toEqual([id]);
    await pass(2_000);
    expect(leader()).toBe(tab);
  });

  test("while it only was busy, stays the leader", async () => {
    const [busy, tab] = await open(2);
    tab.hide();
    busy.frozen = true;
    tab.show();
    await pass(1_000);
    busy.thaw();
    await pass(5_000);
    expect(leader()).toBe(busy);
    expect(hub.streams).toHaveLength(1);
  });
});

describe("a follower that is frozen", () => {
  test("shows all that it missed when it thaws", async () => {
    const [, frozen] = await open(3);
    frozen.freeze();
    const ids = [publish(), publish()];
    await live(10);
    frozen.thaw();
    await live(1);
    expect(frozen.shown).toEqual(ids);
    expect(hub.streams).toHaveLength(1);
  });

  test("does not keep the others waiting if the lock falls to it", async () => {
    const [first, frozen, third] = await open(3);
    frozen.freeze();
    first.close();
    const id = publish();
    expect(leader()).toBe(frozen);
    await beats(4);
    expect(third.shown).toEqual([id]);
    expect(leader()).toBe(third);
    frozen.thaw();
    await live(1);
    expect(frozen.shown).toEqual([id]);
    expect(hub.streams).toHaveLength(1);
  });
});

describe("different users in one browser", () => {
  beforeEach(() => {
    hub.identities.set("a", { user: "42", roles: ["ADMIN"] });
    hub.identities.set("b", { user: "7", roles: ["ADMIN"] });
    hub.identities.set("c", { user: "42", roles: [] });
  });

  test("never see each other's, by tokens", async () => {
    const [a1, a2] = await open(2, { token: "a" });
    const [b1, b2] = await open(2, { token: "b" });
    expect(hub.streams).toHaveLength(2);
    const [mine, yours, ours] = [publish({ user: "42" }), publish({ user: "7" }), publish({ role: "ADMIN" })];
    await pass();
    expect(shown([a1, a2, b1, b2])).toEqual([[mine, ours], [mine, ours], [yours, ours], [yours, ours]]);
    a1.close();
    b1.close();
    const [later, laterYours] = [publish({ user: "42" }), publish({ user: "7" })];
    await pass();
    expect(shown([a2, b2])).toEqual([[mine, ours, later], [yours, ours, laterYours]]);
    expect(b2.connection.info.userId).toBe("7");
  });

  test("nor does one user with other roles see what is for those", async () => {
    const [admin] = await open(1, { token: "a" });
    const [reader] = await open(1, { token: "c" });
    const [mine] = [publish({ user: "42" }), publish({ role: "ADMIN" })];
    await pass();
    expect(reader.shown).toEqual([mine]);
    expect(admin.shown).toHaveLength(2);
    expect(hub.streams).toHaveLength(2);
  });

  test("by the cookie: who signs in as another is told nothing of the one before, whose tabs stay as they were", async () => {
    browser.cookie = "a";
    const before = await open(2);
    browser.cookie = "b";
    const [after] = await open(1);
    expect(after.connection.info.userId).toBe("7");
    const [first, second] = [publish({ user: "42" }), publish({ user: "7" })];
    await pass();
    expect(shown(before)).toEqual([[first], [first]]);
    expect(after.shown).toEqual([second]);

    // Their stream ends: now they are the other's, too, are told so first, and begin anew.
    hub.end();
    await pass(5_000);
    const third = publish({ user: "7" });
    publish({ user: "42" });
    await pass(5_000);
    for (const tab of before) {
      expect(tab.connection.info.userId).toBe("7");
      expect(tab.shown).toEqual([first, third]);
      const told = tab.told.map(([type, detail]) => (type === "connected" ? detail.userId : detail.notificationId)).filter(Boolean);
      expect(told).toEqual(["42", first, "7", third]);
    }
    expect(hub.streams).toHaveLength(1);
  });

  test("a tab that signs in as another leaves the others' stream to them", async () => {
    let token = "a";
    const [, follower, other] = [await open(1, { token: "a" }), ...(await open(1, { getToken: () => token })), ...(await open(1, { token: "a" }))];
    token = "b";
    follower.connection.reconnect();
    await pass();
    const [mine, yours] = [publish({ user: "42" }), publish({ user: "7" })];
    await pass();
    expect(follower.shown).toEqual([yours]);
    expect(other.shown).toEqual([mine]);
  });

  test("a leader that is signed out stops; the others go on if they may", async () => {
    let token = "a";
    const [first] = await open(1, { getToken: () => token });
    const [second] = await open(1, { token: "a" });
    token = "expired";
    hub.end();
    await pass(5_000);
    expect(first.connection.state).toBe("closed");
    expect(first.all("error").at(-1)).toMatchObject({ code: "unauthorized", fatal: true, status: 401 });
    const id = publish({ user: "42" });
    await pass(5_000);
    expect(second.shown).toEqual([id]);
    expect(first.shown).toEqual([]);
    expect(leader()).toBe(second);
  });
});

describe("each tab has a stream of its own", () => {
  const alone = async (options) => {
    const tabs = await open(3, options);
    expect(hub.streams).toHaveLength(3);
    const id = publish();
    await live(3);
    expect(shown(tabs)).toEqual([[id], [id], [id]]);
    tabs[0].close();
    await live(3);
    expect(hub.streams).toHaveLength(2);
  };

  test.each(["locks", "BroadcastChannel"])("without %s", async (missing) => {
    browser = new Browser({ hub, without: [missing] });
    browser.cookie = "cookie";
    await alone();
  });

  test("where locks are forbidden", async () => {
    browser.locks.request = () => Promise.reject(new DOMException("opaque origin", "SecurityError"));
    await alone();
  });

  test("with shared: false", () => alone({ shared: false }));
});

/** Numbers that look random, the same for the same seed (mulberry32). */
function dice(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

describe("whatever happens", () => {
  const PLANS = Number(process.env.CAMPANILE_TEST_PLANS ?? 100);
  const users = { a: { user: "42", roles: ["ADMIN"] }, b: { user: "7", roles: [] }, c: { user: "42", roles: [] } };

  /** What may happen, and how often. */
  const happenings = {
    publish: [8, ({ random }) => hub.publish(random() < 0.3 ? { role: "ADMIN" } : { user: random() < 0.5 ? "42" : "7" })],
    heartbeat: [3, () => hub.heartbeat()],
    open: [3, ({ random }) => {
      if (browser.living.length >= 6) return;
      const token = "aaabc"[Math.floor(random() * 5)];
      browser.open({ token }).identity = users[token];
    }],
    close: [1, ({ tab }) => tab?.close()],
    freeze: [1, ({ tab }) => tab?.freeze()],
    thaw: [2, ({ tab }) => tab?.frozen && tab.thaw()],
    hide: [1, ({ tab }) => tab?.hide()],
    show: [1, ({ tab }) => tab?.frozen || tab?.show()],
    reconnect: [1, ({ tab }) => tab?.frozen || tab?.connection.reconnect()],
    cut: [1, () => hub.end()],
    bye: [1, () => hub.end(`retry: 500\n${hub.event({ type: "bye", data: { reason: "draining" } })}`)],
    outage: [1, () => (hub.down = true)],
    return: [2, () => (hub.down = false)],
    refuse: [1, () => hub.trouble.push(new Response("", { status: 502 }))],
    prune: [1, ({ gaps }) => gaps && (hub.floor = hub.log.length)],
  };
  const urn = Object.entries(happenings).flatMap(([name, [weight]]) => Array(weight).fill(name));

  async function run(seed, gaps) {
    const random = dice(seed);
    browser = new Browser({ hub, random, latency: () => Math.floor(random() * 30) });
    for (const [token, identity] of Object.entries(users)) hub.identities.set(token, identity);
    const plan = [];
    for (let step = 0; step < 60; step++) {
      const name = urn[Math.floor(random() * urn.length)];
      plan.push(name);
      happenings[name][1]({ random, gaps, tab: browser.living[Math.floor(random() * browser.living.length)] });
      await pass(Math.floor(random() * (random() < 0.2 ? 20_000 : 200)));
    }
    // Then peace returns.
    hub.down = false;
    hub.trouble = [];
    for (const tab of browser.living) if (tab.frozen) tab.thaw();
    const beat = setInterval(() => hub.heartbeat(), hub.heartbeatSeconds * 1_000);
    await pass(minutes(3));
    clearInterval(beat);
    return plan.join(" ");
  }

  const seeds = Array.from({ length: PLANS }, (_, n) => n + 1);

  test.each(seeds)("each page is shown all that is its own, once, in order (plan %i)", async (seed) => {
    const plan = await run(seed, false);
    for (const [n, tab] of browser.living.entries()) {
      const expected = hub.allFor(tab.identity, Number(tab.startedAt.split("-")[1]));
      expect(tab.shown, `tab ${n} of ${tab.identity.user} after ${plan}`).toEqual(expected);
      expect(tab.connection.state).toBe("open");
    }
    const groups = new Set(browser.living.map((tab) => tab.identity));
    expect(hub.streams, `streams after ${plan}`).toHaveLength(groups.size);
  });

  test.each(seeds)("also if the hub no longer has it all (plan %i)", async (seed) => {
    const plan = await run(seed, true);
    for (const [n, tab] of browser.living.entries()) {
      const context = `tab ${n} of ${tab.identity.user} after ${plan}`;
      const since = hub.allFor(tab.identity, Number(tab.startedAt.split("-")[1]));
      expect(new Set(tab.shown).size, `doubled in ${context}`).toBe(tab.shown.length);
      expect(since.filter((id) => !tab.shown.includes(id)), `lost in ${context}`).toEqual([]);
      const all = hub.allFor(tab.identity);
      expect(tab.shown.filter((id) => !all.includes(id)), `foreign in ${context}`).toEqual([]);
    }
  });
});
