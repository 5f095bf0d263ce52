// Many tabs and one stream, in a real Chromium against a real hub: tabs that are closed, killed and frozen, a hub that
// restarts, several users in one browser, a page of another site.
//
// What needs a certain order of events, or minutes, is in unit/tabs.test.mjs; here is what only a browser can show: that
// its locks, channels, processes and connections are as that file pretends. Waits are for what the page or the hub says.
//
// Run it alone with `node --test tests/browser/tabs.test.mjs`, after `tests/run` has installed what it needs.

import assert from "node:assert/strict";
import { once } from "node:events";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import { fileURLToPath } from "node:url";

import { launch } from "./chromium.mjs";
import { Hub } from "./hub.mjs";
import { Site } from "./site.mjs";

/** A limit for each test, in milliseconds: above every wait inside, so that those can say what was missing. */
const LIMIT = { timeout: 240_000 };

/** How long anything may take that is waited for, in milliseconds: a backoff is 30 s at the most, the machine may be slow. */
const WAIT_MS = 90_000;

/** Another site than 127.0.0.1, although it is this machine. */
const OTHER_SITE = "other.test";

let browser;
let hub;
let context;
let token;

before(async () => {
  browser = await launch({ names: [OTHER_SITE] });
});

after(() => browser?.close());

beforeEach(async () => {
  // The hub lets nothing run in an answer that is no page of its own; here one stands for an application's page.
  context = await browser.newContext({ bypassCSP: true });
});

afterEach(async () => {
  await context?.close();
  await hub?.close();
});

/** A hub whose heartbeat comes every second, the least that it allows. */
async function serve(settings = {}) {
  hub = await Hub.start([], { CAMPANILE_STREAM_HEARTBEAT: "1s", ...settings });
  token = await hub.token("42", { roles: ["ADMIN"] });
}

/** Asks again until it is so; `ask` takes its time by itself, since it goes through a browser or a hub. */
async function until(what, ask) {
  const end = Date.now() + WAIT_MS;
  let last;
  while (Date.now() < end) {
    last = await ask();
    if (last === true) return;
  }
  assert.fail(`not within ${WAIT_MS} ms: ${what}; last: ${JSON.stringify(last)}`);
}

/** How many streams a user holds, by the hub's word. */
async function streams(bearer = token) {
  const response = await fetch(`${hub.url}/notifications/status`, { headers: { authorization: `Bearer ${bearer}` } });
  return (await response.json()).streams.own;
}

const holds = (count, bearer) =>
  until(`${count} streams`, async () => {
    const own = await streams(bearer);
    return own === count || own;
  });

/** A page with a client, and what it was told. */
class Tab {
  /** Use {@link Tab.open}. */
  constructor(page) {
    this.page = page;
  }

  /** @param {object} [options] the client's; by default the token of user 42. */
  static async open(options = { token }, { at = `${hub.url}/healthz`, from = "/campanile.js", within = context } = {}) {
    const tab = new Tab(await within.newPage());
    tab.page.setDefaultTimeout(WAIT_MS);
    await tab.page.goto(at);
    await tab.connect(options, from);
    return tab;
  }

  async connect(options, from = "/campanile.js") {
    await this.page.evaluate(
      async ({ options, from }) => {
        const { connect } = await import(from);
        const it = (window.it = { shown: [], users: [], gaps: [] });
        it.connection = connect({
          ...options,
          onNotification: ({ notificationId }) => it.shown.push(notificationId),
          onConnected: ({ userId }) => it.users.push(userId),
          onGap: (gap) => it.gaps.push(gap),
        });
      },
      { options, from },
    );
    await this.is("open");
  }

  is(state) {
    return until(`a tab is ${state}`, async () => {
      const found = await this.page.evaluate(() => window.it.connection.state);
      return found === state || found;
    });
  }

  get shown() {
    return this.page.evaluate(() => window.it.shown);
  }

  /** Waits until it shows the last of these, then it must show these. */
  async shows(ids, what = "a tab") {
    await until(`${what} shows the last`, async () => {
      const shown = await this.shown;
      return shown.includes(ids.at(-1)) || shown;
    });
    assert.deepEqual(await this.shown, ids, what);
  }

  /** Whether this is the one that holds the stream: whose lock it is. */
  leads() {
    return this.page.evaluate(async () => {
      const { held } = await navigator.locks.query();
      // A client id cannot be asked for; a lock of one's own can be had, and has it.
      return navigator.locks.request(`whose ${Math.random()}`, async ({ name }) => {
        const mine = (await navigator.locks.query()).held.find((lock) => lock.name === name).clientId;
        return held.some((lock) => lock.name.includes("campanile") && lock.clientId === mine);
      });
    });
  }

  async kill() {
    const session = await context.newCDPSession(this.page);
    const gone = once(this.page, "crash");
    session.send("Page.crash").catch(() => {}); // nobody is left to answer
    await gone;
  }

  /**
   * From now on nothing runs in it, no timer, no message, no byte: as in a tab that the browser has frozen. Chromium does not
   * freeze a page that a test holds in front, but a debugger stops it just as well, at its next event.
   */
  async freeze() {
    this.debugger = await context.newCDPSession(this.page);
    await this.debugger.send("Debugger.enable");
    const paused = once(this.debugger, "Debugger.paused");
    await this.debugger.send("Debugger.pause");
    await paused;
  }

  async thaw() {
    await this.debugger.send("Debugger.resume");
    await this.debugger.detach();
  }
}

/** Tabs that share one stream, the first of which holds it. Which one that is, is the browser's affair. */
async function open(count) {
  const tabs = [];
  for (let i = 0; i < count; i++) tabs.push(await Tab.open());
  await holds(1);
  return leaderFirst(tabs);
}

async function leaderFirst(tabs) {
  const leading = await Promise.all(tabs.map((tab) => tab.leads()));
  assert.equal(leading.filter(Boolean).length, 1, "one leads");
  return [...tabs].sort((a, b) => leading[tabs.indexOf(b)] - leading[tabs.indexOf(a)]);
}

async function publish(count = 1, draft = { targetUserId: "42" }) {
  const ids = [];
  for (let i = 0; i < count; i++) ids.push((await hub.publish({ message: `${i}`, ...draft })).notificationId);
  return ids;
}

async function allShow(tabs, ids) {
  for (const [n, tab] of tabs.entries()) await tab.shows(ids, `tab ${n}`);
}

describe("five tabs", () => {
  beforeEach(() => serve());

  test("hold one stream, and each shows everything once", LIMIT, async () => {
    const tabs = await open(5);
    const ids = [...(await publish(5)), ...(await publish(5, { targetRoles: ["ADMIN"] })), ...(await publish(5, { everyone: true }))];
    await allShow(tabs, ids);
    await holds(1);
    // The count follows a burst, once for all of it.
    await Promise.all(tabs.map(({ page }) => page.waitForFunction((all) => window.it.connection.unread === all, ids.length)));
  });

  test("go on when the one that holds it is closed, and then the next", LIMIT, async () => {
    let tabs = await open(5);
    const ids = await publish(3);
    await allShow(tabs, ids);
    while (tabs.length > 2) {
      const [leader, ...others] = await leaderFirst(tabs);
      tabs = others;
      const meanwhile = publish(10);
      await leader.page.close();
      ids.push(...(await meanwhile), ...(await publish(3)));
      await allShow(tabs, ids);
      await holds(1);
    }
  });

  test("go on when the one that holds it is killed", LIMIT, async () => {
    const tabs = await open(5);
    const ids = await publish(3);
    await allShow(tabs, ids);
    const [leader] = tabs.splice(0, 1);
    const meanwhile = publish(10);
    await leader.kill();
    ids.push(...(await meanwhile), ...(await publish(3)));
    await allShow(tabs, ids);
    await holds(1);
  });

  test("survive restarts of the hub, through one stream", LIMIT, async () => {
    const tabs = await open(5);
    const ids = await publish(3);
    for (const signal of ["SIGTERM", "SIGKILL"]) {
      ids.push(...(await publish(2)));
      await allShow(tabs, ids);
      await hub.stop(signal);
      await hub.launch();
      ids.push(...(await publish(3)));
      await allShow(tabs, ids);
      await holds(1);
    }
  });

  test("go on while the one that holds it is frozen, which catches up when it thaws", LIMIT, async () => {
    const [leader, ...tabs] = await open(5);
    const ids = await publish(3);
    await allShow([leader, ...tabs], ids);
    await leader.freeze();
    ids.push(...(await publish(3)));
    await allShow(tabs, ids);
    ids.push(...(await publish(3)));
    await allShow(tabs, ids);
    assert.equal(await streams(), 2, "a frozen tab cannot end its own");
    await leader.thaw();
    await leader.shows(ids, "the frozen one");
    ids.push(...(await publish(3)));
    await allShow([leader, ...tabs], ids);
    await holds(1);
  });

  test("do not wait for one that is frozen for minutes, which then shows what it missed", LIMIT, async () => {
    const [leader, frozen, ...tabs] = await open(5);
    await frozen.freeze();
    const ids = await publish(20);
    await allShow([leader, ...tabs], ids);
    // Minutes, by the heartbeats: the frozen one would have missed dozens at the usual pace.
    await leader.page.evaluate(
      () =>
        new Promise((resolve) => {
          let beats = 0;
          window.it.connection.addEventListener("heartbeat", () => ++beats === 8 && resolve());
        }),
    );
    await frozen.thaw();
    await frozen.shows(ids, "the frozen one");
    await holds(1);
  });

  test("leave connections for a sixth, a seventh and an eighth, which can still ask the hub", LIMIT, async () => {
    const tabs = await open(5);
    for (let i = 0; i < 3; i++) tabs.push(await Tab.open());
    await holds(1);
    const ids = await publish(3);
    await allShow(tabs, ids);
    const answers = await Promise.all(tabs.map(({ page }) => page.evaluate(async () => (await fetch("/readyz")).status)));
    assert.deepEqual(answers, Array(8).fill(200));
  });

  test("go on from where they were when they are reloaded", LIMIT, async () => {
    const tabs = await open(2);
    const before = await publish(3);
    await allShow(tabs, before);
    await Promise.all(tabs.map(({ page }) => page.goto("about:blank")));
    await holds(0);
    const missed = await publish(3);
    for (const tab of tabs) await tab.page.goto(`${hub.url}/healthz`);
    await tabs[0].connect({ token });
    await tabs[0].shows(missed);
    await tabs[1].connect({ token });
    const ids = [...missed, ...(await publish(1))];
    await tabs[0].shows(ids);
    await holds(1);
  });

  test("mark read in one, and all know the new count", LIMIT, async () => {
    const tabs = await open(3);
    const ids = await publish(3);
    await allShow(tabs, ids);
    const know = (count) =>
      until(`all know of ${count} unread`, async () => {
        const unread = await Promise.all(tabs.map(({ page }) => page.evaluate(() => window.it.connection.unread)));
        return unread.every((known) => known === count) || unread;
      });
    await know(3);
    await tabs[1].page.evaluate((id) => window.it.connection.markRead(id), ids[0]);
    await know(2);
    await tabs[2].page.evaluate(() => window.it.connection.markAllRead());
    await know(0);
  });
});

test("after too much was missed, all tabs show it from the inbox, and are told so", LIMIT, async () => {
  await serve({ CAMPANILE_STREAM_REPLAY_LIMIT: "5" });
  const tabs = await open(3);
  const ids = await publish(2);
  await allShow(tabs, ids);
  await hub.stop("SIGTERM");
  await hub.launch();
  const drafts = Array.from({ length: 10 }, (_, n) => ({ targetUserId: "42", message: `missed ${n}` }));
  const { results } = await hub.post("/notifications/batch", "application/json", JSON.stringify(drafts));
  ids.push(...results.map(({ notification }) => notification.notificationId));
  await allShow(tabs, ids);
  for (const { page } of tabs) {
    await until("the gap is told", () => page.evaluate(() => window.it.gaps.length === 1));
    const [{ scope, unread, notifications }] = await page.evaluate(() => window.it.gaps);
    assert.deepEqual([scope, unread, notifications.length], ["inbox", 12, 12]);
  }
});

describe("several users in one browser", () => {
  test("never see each other's, whoever closes", LIMIT, async () => {
    await serve();
    const other = await hub.token("7", { roles: ["ADMIN"] });
    const mine = [await Tab.open(), await Tab.open()];
    const theirs = [await Tab.open({ token: other }), await Tab.open({ token: other })];
    await holds(1);
    await holds(1, other);
    const forMe = await publish(3, { targetUserId: "42" });
    const forThem = await publish(3, { targetUserId: "7" });
    const forBoth = await publish(1, { targetRoles: ["ADMIN"] });
    await allShow(mine, [...forMe, ...forBoth]);
    await allShow(theirs, [...forThem, ...forBoth]);
    await mine.shift().page.close();
    await theirs.shift().page.close();
    const last = [await publish(3, { targetUserId: "42" }), await publish(3, { targetUserId: "7" })];
    await allShow(mine, [...forMe, ...forBoth, ...last[0]]);
    await allShow(theirs, [...forThem, ...forBoth, ...last[1]]);
  });

  test("one who signs in to the console by its cookie shares that among tabs, without a token", LIMIT, async () => {
    await serve();
    const page = await context.newPage();
    await page.goto(hub.signInLink);
    await page.close();
    const tabs = [await Tab.open({}), await Tab.open({})];
    const ids = await publish(3, { targetUserId: "console" });
    await allShow(tabs, ids);
    assert.deepEqual(await tabs[0].page.evaluate(() => window.it.users), ["console"]);
  });
});

describe("a page of another site", () => {
  let site;
  let page;

  beforeEach(async () => {
    // What npm would have put there; the script's text does for a page.
    const directory = fileURLToPath(new URL("../../static", import.meta.url));
    site = await Site.start({ directory, prefixes: [] });
    const origin = site.url.replace("127.0.0.1", OTHER_SITE);
    page = `${origin}/campanile.js`;
    await serve({ CAMPANILE_SERVE_CORS_ORIGINS: origin });
  });

  afterEach(() => site?.close());

  const stream = () => `${hub.url}/notifications/stream`;

  test("streams with a token, and its tabs share, where the browser lets them", LIMIT, async () => {
    const tabs = [await Tab.open({ url: stream(), token }, { at: page }), await Tab.open({ url: stream(), token }, { at: page })];
    const ids = await publish(3);
    await allShow(tabs, ids);
  });

  test("streams through EventSource with a ticket, a new one after each end", LIMIT, async () => {
    const tab = await Tab.open({ url: stream(), token, transport: "eventsource" }, { at: page });
    const ids = await publish(3);
    await tab.shows(ids);
    await hub.stop("SIGTERM");
    await hub.launch();
    ids.push(...(await publish(3)));
    await tab.shows(ids);
    const urls = await tab.page.evaluate(() => performance.getEntriesByType("resource").map(({ name }) => name));
    const tickets = urls.map((url) => new URL(url).searchParams.get("ticket")).filter(Boolean);
    assert.equal(new Set(tickets).size, tickets.length, "no ticket is used twice");
    assert.ok(!urls.some((url) => url.includes(token)), "the token is in no URL");
  });
});
