// A notification is a stranger's text. Whatever its fields hold, and every other field that somebody can fill, it is
// shown as text in every room, and nothing of it runs, loads or leads astray.

import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, test } from "node:test";

import { launch } from "./chromium.mjs";
import { ConsolePage } from "./console-page.mjs";
import { Hub } from "./hub.mjs";
import { Operator, Receiver, SWIFT, openStream } from "./operator.mjs";

const LIMIT = { timeout: 240_000 };
const HARM = `"'><img src=x onerror="window.harmed=1"><script>window.harmed=2</script><a href="javascript:window.harmed=3">`;
/** Short enough for a name, of which there are at most 128 bytes. */
const NAME = `<img src=x onerror=window.harmed=4>`;

let browser;
let hub;
let operator;
let context;
let sink;
const streams = [];

before(async () => {
  browser = await launch();
});

after(() => browser?.close());

beforeEach(async () => {
  hub = await Hub.start(SWIFT, { CAMPANILE_WEBHOOKS_RETRY: "[]" });
  operator = await Operator.of(hub);
  context = await browser.newContext();
  sink = await Receiver.start();
});

afterEach(async () => {
  await context?.close();
  for (const stream of streams.splice(0)) await stream.close();
  await sink?.close();
  await hub?.close();
});

/** What must never be: a script that ran, an element or a handler made of a text, a link with code in it. */
async function assertHarmless(page, where) {
  const found = await page.evaluate(() => ({
    harmed: window.harmed,
    made: document.querySelectorAll("main img, main script, dialog img, dialog script, header img").length,
    handlers: [...document.querySelectorAll("*")].filter((one) => [...one.attributes].some(({ name }) => name.startsWith("on"))).length,
    astray: [...document.querySelectorAll("a[href]")].map((one) => one.protocol).filter((one) => !/^https?:$/.test(one)),
  }));
  assert.deepEqual(found, { harmed: undefined, made: 0, handlers: 0, astray: [] }, where);
}

test("whatever a field holds, it is shown as text in every room, and nothing of it runs", LIMIT, async () => {
  sink.status = 500;
  sink.text = HARM;
  const draft = { title: HARM, message: HARM, details: HARM, module: NAME, actionType: NAME, severity: "high", data: { [HARM]: HARM } };
  await operator.call("POST", "/webhooks", { url: `${sink.url}?${encodeURIComponent(NAME)}`, on: "always", roles: [], modules: [NAME] });
  const { endpoints } = await operator.call("GET", "/webhooks");
  streams.push(await openStream(hub, NAME, [NAME]));
  const page = await ConsolePage.open(context, hub.signInLink);

  // To the console itself, live; to a name that is markup, present and away; under a key, twice; and as a reminder.
  const live = await operator.publish({ ...draft, targetUserIds: ["console", NAME], targetRoles: ["ADMIN", NAME], link: "/relative?<img/src=x/onerror=window.harmed=6>" });
  await page.shows(live.notificationId);
  await operator.publish({ ...draft, targetUserId: `${NAME} away`, idempotencyKey: NAME });
  await operator.publish({ ...draft, targetUserId: `${NAME} away`, idempotencyKey: NAME });
  const dueAt = new Date(Date.now() - 3_600_000).toISOString();
  await operator.call("PUT", `/reminders/${encodeURIComponent(NAME)}`, { ...draft, dueAt, targetRoles: [NAME], webhook: "always" });
  await operator.call("POST", "/keys", { name: NAME, scopes: ["publish"] });
  await operator.failed(1);
  await operator.until("webhooks have failed", `/webhooks/${endpoints[0].id}/deliveries?status=failed`, ({ deliveries }) => deliveries.length >= 3);

  const name = encodeURIComponent(NAME);
  const publisher = encodeURIComponent("user:campanile/ops");
  const rooms = [
    ["#/now", "#notifications .message", HARM],
    ["#/now", ".here", NAME],
    [`#/deliveries?user=${encodeURIComponent(`${NAME} away`)}`, "#room tbody", NAME],
    [`#/deliveries/${live.notificationId}`, "#room .letter", HARM],
    [`#/deliveries/${live.notificationId}`, "#room .excerpt", HARM],
    ["#/inbox", ".entries .title", HARM],
    [`#/inbox?user=${name}&role=${name}`, ".entries .details", HARM],
    ["#/queue", "#diagnosis", "wrong"],
    ["#/reminders", "#room tbody", NAME],
    [`#/reminders/${name}?publisher=${publisher}`, "#room .letter", HARM],
    ["#/webhooks", "#room tbody", "hook"],
    [`#/webhooks/${endpoints[0].id}`, "#room .excerpt", HARM],
    [`#/webhooks/${endpoints[0].id}`, "#room .facts", NAME],
    ["#/duplicates", "#room tbody", NAME],
    ["#/keys", "#room tbody", NAME],
    // What an address holds is somebody else's text as well.
    [`#/deliveries/${name}`, "h1", NAME],
    [`#/reminders/${name}x`, "h1", NAME],
    [`#/deliveries?user=x&outcome=${name}&since=${name}`, "#room form", "must be one of"],
    [`#/duplicates?key=${name}`, "#room tbody", NAME],
    [`#/${name}`, "h1", "Now"],
  ];
  for (const [hash, where, text] of rooms) {
    await page.at(hash);
    await page.says(where, new RegExp(text.slice(0, 60).replace(/[.*+?^${}()|[\]\\]/g, "\\$&")));
    for (const folded of await page.page.$$("#room details:not([open]) > summary, #side details:not([open]) > summary")) await folded.click();
    await assertHarmless(page, hash);
  }

  // Typed here: in the form, the command beside it, the answer, and the suggestions.
  await page.enter("send");
  const { page: it } = page;
  await it.fill("#send-users", NAME);
  await it.press("#send-users", "Enter");
  await it.fill("#send-message", HARM);
  await it.fill("#send-title", HARM);
  await it.click("#send-button");
  await page.says("#answered", /201/);
  await assertHarmless(page, "what was sent from here");
  await page.at("#/webhooks");
  await it.fill("#endpoint-url", `javascript:window.harmed=5`);
  await it.click("#endpoint-add");
  await page.says("#endpoint-url-error", /./);
  await assertHarmless(page, "what was refused");
  page.assertClean({ refused: true }); // a request for an image would have been a violation of the policy, or a 404
});

test("a link leads to http and https alone, whatever a hub lets through", LIMIT, async () => {
  const page = await ConsolePage.open(context, hub.signInLink);
  const links = ["javascript:window.harmed=1", " java\nscript:window.harmed=1", "data:text/html,<script>1</script>", "vbscript:x", "file:///etc/passwd", "blob:x"];
  const shown = await page.evaluate(async (all) => {
    const { strangersLink, el } = await import("./console/dom.js");
    const made = all.map((link) => strangersLink(link));
    const direct = all.map((href) => el("a", { href }, "x"));
    return [...made, ...direct].map((one) => [one.localName, one.getAttribute("href")]);
  }, links);
  for (const [, href] of shown) assert.equal(href, null);
  const good = await page.evaluate(async () => {
    const { strangersLink } = await import("./console/dom.js");
    return ["https://shop.example/a", "/orders/5"].map((link) => {
      const { href, target, rel } = strangersLink(link);
      return { href, target, rel };
    });
  });
  assert.deepEqual(good, [
    { href: "https://shop.example/a", target: "_blank", rel: "noopener noreferrer" },
    { href: `${hub.url}/orders/5`, target: "_blank", rel: "noopener noreferrer" },
  ]);
  page.assertClean();
});
