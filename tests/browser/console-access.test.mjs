// The console for whoever cannot see it, cannot point at it, or holds it in one hand.

import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, test } from "node:test";

import axe from "axe-core";

import { launch } from "./chromium.mjs";
import { ConsolePage } from "./console-page.mjs";
import { Hub } from "./hub.mjs";
import { Operator, Receiver, SWIFT, openStream } from "./operator.mjs";

const LIMIT = { timeout: 240_000 };

let browser;
let hub;
let operator;
let rooms;
const opened = [];

before(async () => {
  browser = await launch();
});

after(() => browser?.close());

beforeEach(async () => {
  hub = await Hub.start(SWIFT, { CAMPANILE_WEBHOOKS_RETRY: "[]" });
  operator = await Operator.of(hub);
});

afterEach(async () => {
  for (const one of opened.splice(0)) await one.close();
  await hub?.close();
});

/** A hub with something in every room, long names included; the rooms and what shows that each is there. */
async function furnish() {
  const sink = await Receiver.start();
  opened.push(sink);
  sink.status = 500;
  const long = "W".repeat(60);
  const { id } = await operator.call("POST", "/webhooks", { url: `${sink.url}/${long}`, on: "always" });
  await operator.call("POST", "/webhooks", { url: `${sink.url}/second`, on: "undelivered", severities: ["high"] });
  opened.push(await openStream(hub, "ann", ["ADMIN", "Chef d'équipe", long]));
  const draft = { title: `Line 2 has stopped ${long}`, message: `At station 4. ${long}`, details: "Since 04:00", module: "plant", link: `https://shop.example/${long}`, data: { long } };
  const away = Array.from({ length: 11 }, (_, i) => `away-${i}`);
  const { notificationId } = await operator.publish({ ...draft, severity: "critical", targetUserIds: ["console", "ann", long, ...away], reference: { prefix: "CNC" } });
  await operator.publish({ ...draft, severity: "low", targetUserId: "console", idempotencyKey: long });
  await operator.publish({ ...draft, severity: "low", targetUserId: "console", idempotencyKey: long });
  await operator.publish({ ...draft, targetUserId: "console", deliverAt: new Date(Date.now() + 3_600_000).toISOString() });
  await operator.call("PUT", `/reminders/${long}`, { ...draft, dueAt: new Date(Date.now() - 200_000_000).toISOString(), repeatEvery: "24h", targetRoles: [long] });
  await operator.call("PUT", "/reminders/later", { ...draft, dueAt: new Date(Date.now() + 200_000_000).toISOString(), targetRoles: ["X"] });
  await operator.call("POST", "/keys", { name: long, scopes: ["publish"] });
  await operator.failed(14);
  await operator.until("webhooks have failed", `/webhooks/${id}/deliveries?status=failed`, ({ deliveries }) => deliveries.length >= 3);
  return [
    ["#/now", ".here tbody tr"],
    ["#/send", "#send"],
    ["#/deliveries", "#room tbody tr"],
    [`#/deliveries/${notificationId}`, "#room .facts"],
    ["#/inbox", ".entries li"],
    ["#/inbox?user=ann&role=ADMIN", ".entries li"],
    ["#/queue", "#diagnosis .alert"],
    ["#/reminders", "#room tbody tr"],
    [`#/reminders/${long}?publisher=user:campanile/ops`, "#room .facts"],
    ["#/webhooks", "#room tbody tr"],
    [`#/webhooks/${id}`, "#room tbody tr"],
    ["#/duplicates", "#room tbody tr"],
    ["#/keys", "#room tbody tr"],
    ["#/deliveries/nothing", ".verdict"],
  ];
}

async function open(options) {
  const context = await browser.newContext(options);
  opened.push(context);
  const link = (await operator.call("POST", "/console/code")).code;
  return ConsolePage.open(context, `${hub.url}/sign-in?code=${link}`);
}

async function enter(page, [hash, there]) {
  await page.at(hash);
  await page.page.waitForSelector(there);
  for (const folded of await page.page.$$("#room details:not([open]) > summary")) await folded.click();
}

/** What axe holds to be a serious or critical fault, in words. */
async function faults(page) {
  return page.evaluate(async () => {
    const { violations } = await window.axe.run(document, { resultTypes: ["violations"] });
    return violations
      .filter(({ impact }) => impact === "serious" || impact === "critical")
      .map(({ id, nodes }) => `${id}: ${nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`).join("\n")}`);
  });
}

for (const colorScheme of ["light", "dark"]) {
  test(`axe finds no serious fault in any room, in the ${colorScheme}`, LIMIT, async () => {
    rooms = await furnish();
    const page = await open({ colorScheme, reducedMotion: "reduce" });
    await page.evaluate(axe.source);
    const found = [];
    for (const room of rooms) {
      await enter(page, room);
      found.push(...(await faults(page)).map((fault) => `${room[0]} ${fault}`));
    }
    assert.deepEqual(found, []);
    // What is asked, what is refused, and who is not signed in.
    await enter(page, rooms[1]);
    await page.page.click("#empty-button");
    await page.page.click("#send-button");
    await page.says("#send-message-error", /./);
    assert.deepEqual(await faults(page), [], "a refusal");
    await page.at("#/keys");
    await page.page.click('#room button:text-is("Revoke")');
    assert.deepEqual(await faults(page), [], "a question");
    await page.page.keyboard.press("Escape");
    await page.page.context().clearCookies();
    await page.page.click('#rooms a[data-room="queue"]');
    await page.page.waitForSelector("#sign-in:not([hidden])");
    assert.deepEqual(await faults(page), [], "not signed in");
    page.assertClean({ refused: true });
  });
}

test("on a phone no room is wider than the screen, and the rooms fold away", LIMIT, async () => {
  rooms = await furnish();
  const page = await open({ viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true });
  const { page: it } = page;
  const found = [];
  for (const room of rooms) {
    await enter(page, room);
    const wide = await page.evaluate(() => {
      const limit = document.documentElement.clientWidth;
      const beyond = [...document.querySelectorAll("body *")].filter((one) => {
        const { right, width } = one.getBoundingClientRect();
        // What scrolls within its own frame, such as a long line of code, is not the page's; heads of tables are only heard.
        return width > 1 && right > limit + 0.5 && !one.closest("pre, svg, thead");
      });
      return { page: document.documentElement.scrollWidth - limit, beyond: beyond.slice(0, 3).map((one) => one.outerHTML.slice(0, 120)) };
    });
    if (wide.page > 0 || wide.beyond.length) found.push([room[0], wide]);
  }
  assert.deepEqual(found, []);
  assert.equal(await it.isVisible("#rooms"), false);
  await it.tap("#menu");
  assert.equal(await it.getAttribute("#menu", "aria-expanded"), "true");
  await it.tap('#rooms a[data-room="inbox"]');
  await page.says("h1", /^Inbox$/);
  assert.equal(await it.isVisible("#rooms"), false, "it is out of the way again");
  page.assertClean({ refused: true });
});

test("a notification is sent with the keyboard alone", LIMIT, async () => {
  const page = await open();
  const { page: it } = page;
  const keys = async (...pressed) => {
    for (const key of pressed) await it.keyboard.press(key);
  };
  const focused = () => page.evaluate(() => document.activeElement.id || document.activeElement.textContent);
  /** Tabs on until the focus is somewhere; it must come there, and be seen wherever it stops. */
  const tabTo = async (id) => {
    for (let presses = 0; presses < 60; presses += 1) {
      if ((await focused()) === id) return;
      await keys("Tab");
      const seen = await page.evaluate(() => {
        const one = document.activeElement;
        const { outlineStyle, outlineWidth } = getComputedStyle(one);
        return one === document.body || (outlineStyle !== "none" && parseFloat(outlineWidth) >= 2);
      });
      assert.ok(seen, `the focus is seen on ${await focused()}`);
    }
    assert.fail(`Tab does not come to ${id}`);
  };

  await keys("Tab");
  assert.equal(await focused(), "skip");
  await keys("Enter");
  assert.equal(await focused(), "heading", "the skip link leads into the room");

  await page.evaluate(() => document.querySelector('#rooms a[data-room="send"]').focus());
  await keys("Enter");
  await page.says("h1", /^Send$/);
  assert.equal(await focused(), "heading", "a new room begins at its heading");
  await tabTo("send-users");
  await it.keyboard.type("bob");
  await keys("Enter");
  await it.keyboard.type("ann");
  await keys("Enter", "Backspace"); // ann was a slip
  await tabTo("send-roles");
  await it.keyboard.type("ADMIN");
  await tabTo("send-severity");
  await it.keyboard.type("high");
  await tabTo("send-message");
  await it.keyboard.type("without a mouse");
  await tabTo("More about it");
  await keys("Enter");
  await tabTo("send-module");
  await it.keyboard.type("orders");
  await tabTo("send-button");
  await keys("Enter");
  await page.says("#send .outcome", /Accepted|Here/);
  await page.says("#notifications", /without a mouse/);
  const { deliveries } = await operator.call("GET", "/deliveries?role=ADMIN");
  const story = await operator.call("GET", `/notifications/${deliveries[0].notificationId}/deliveries`);
  assert.deepEqual(
    story.deliveries.map(({ recipient }) => recipient.id).sort(),
    ["ADMIN", "bob", "console"],
    "bob beside the console, which stood there, and not the slip",
  );
  assert.deepEqual([story.notification.severity, story.notification.module], ["high", "orders"]);

  // What is shown changes under the focus, which stays where it is.
  await page.at("#/now");
  await page.says(".verdict li", /1 recipient has not taken what was theirs/); // bob
  await page.page.focus(".verdict a");
  await operator.publish({ targetUserId: "away", message: "not taken either" });
  await page.says(".verdict li", /2 recipients have not taken/);
  assert.equal(await focused(), "Look into it");

  // A question takes the focus, Escape is no, and the focus is back where it was.
  const { notificationId } = await operator.publish({ targetUserId: "x", message: "later", deliverAt: new Date(Date.now() + 3_600_000).toISOString() });
  await page.at(`#/deliveries/${notificationId}`);
  await tabTo("story-cancel");
  await keys("Enter");
  assert.equal(await focused(), "Leave it");
  await keys("Escape");
  assert.equal(await focused(), "story-cancel");
  page.assertClean();
});

test("what changes is read out, and a burst does not chatter", LIMIT, async () => {
  const page = await open();
  await page.evaluate(() => {
    window.spoken = [];
    const regions = '[role="status"], [role="alert"], [aria-live]:not([aria-live="off"])';
    new MutationObserver((changes) => {
      for (const { target } of changes) {
        const region = (target.nodeType === 1 ? target : target.parentElement)?.closest(regions);
        if (region?.textContent && window.spoken.at(-1) !== region.textContent) window.spoken.push(region.textContent);
      }
    }).observe(document.body, { subtree: true, childList: true, characterData: true });
  });
  const last = [];
  for (let n = 0; n < 50; n += 1) last.push((await operator.publish({ targetUserId: "console", title: "Order", message: `number ${n}` })).notificationId);
  await page.shows(last.at(-1));
  await page.page.waitForFunction(() => window.spoken.some((words) => /have come|Order/.test(words)));
  // Somebody fails, which is a new matter and is read out; that there are more of them is not.
  for (let n = 0; n < 3; n += 1) {
    await operator.publish({ targetUserId: `away-${n}`, message: "not taken" });
    await operator.failed(n + 1);
    await page.says(".verdict li", new RegExp(`^advice${n + 1} recipients? ha`));
  }
  // Two polls of the counts go by; they are not read out.
  const asked = [0, 1].map(() => page.page.waitForResponse((response) => response.url().endsWith("/notifications/status")));
  await Promise.all(asked);
  const spoken = await page.evaluate(() => window.spoken);
  const verdicts = spoken.filter((words) => /not taken what was theirs/.test(words));
  assert.equal(verdicts.length, 1, JSON.stringify(spoken));
  assert.ok(spoken.length <= 6, JSON.stringify(spoken));
  assert.match(spoken.join(" "), /\d+ have come. The first: medium: Order. number \d+/);

  const landmarks = await page.evaluate(() => ({
    banner: document.querySelectorAll("body > header").length,
    main: document.querySelectorAll("main").length,
    nav: document.querySelector("nav").ariaLabel,
    current: document.querySelectorAll('[aria-current="page"]').length,
    h1: document.querySelectorAll("h1").length - document.querySelectorAll("[hidden] h1").length,
  }));
  assert.deepEqual(landmarks, { banner: 1, main: 1, nav: "Rooms", current: 1, h1: landmarks.h1 });
  assert.equal(await page.page.locator("h1:visible").count(), 1);
  page.assertClean();
});

test("who wants no motion gets none", LIMIT, async () => {
  const page = await open({ reducedMotion: "reduce" });
  const { notificationId } = await operator.publish({ targetUserId: "console", message: "quietly" });
  await page.shows(notificationId);
  assert.equal(await page.evaluate(() => document.getAnimations().length), 0);
  page.assertClean();
});
