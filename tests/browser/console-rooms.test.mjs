// The rooms of the console: what an operator asks of each, and gets.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { promisify } from "node:util";

import { launch } from "./chromium.mjs";
import { ConsolePage } from "./console-page.mjs";
import { Hub } from "./hub.mjs";
import { Operator, Receiver, SWIFT, claimByHand, openStream } from "./operator.mjs";

const LIMIT = { timeout: 240_000 };

let browser;
let hub;
let context;
let operator;
const opened = [];

before(async () => {
  browser = await launch();
});

after(() => browser?.close());

beforeEach(async () => {
  hub = await Hub.start(SWIFT, { CAMPANILE_AUTH_COOKIE: "session", CAMPANILE_WEBHOOKS_RETRY: "[]" });
  operator = await Operator.of(hub);
  context = await browser.newContext();
});

afterEach(async () => {
  await context?.close();
  for (const one of opened.splice(0)) await one.close();
  await hub?.close();
});

const open = () => ConsolePage.open(context, hub.signInLink);

async function stream(user, roles) {
  const held = await openStream(hub, user, roles);
  opened.push(held);
  return held;
}

async function receiver() {
  const one = await Receiver.start();
  opened.push(one);
  return one;
}

const users = (count) => Array.from({ length: count }, (_, i) => `away-${i}`);

test("what is wrong stands first, with what to do next and a way to the reason", LIMIT, async () => {
  await operator.publish({ targetUserIds: users(11), title: "Shift changed", message: "It begins at 06:00." });
  await operator.failed(11);
  const page = await open();

  await page.says(".verdict li.alert", /11 recipients failed in the last 24 h/);
  await page.says('#rooms a[data-room="queue"]', /1 alert/);
  await page.says('#rooms a[data-room="deliveries"]', /11\s*failed/);

  await page.page.click(".verdict li.alert a");
  await page.says("#diagnosis li:first-child .word", /^alert$/);
  await page.says("#diagnosis li:first-child code", /^campanile why [0-9a-f-]{36}$/);
  await page.hasRows("The latest that failed", 5);
  await page.page.click('#diagnosis button:text-is("Show more")');
  await page.hasRows("The latest that failed", 10);
  await page.says("#diagnosis li.fine", /The store contradicts itself nowhere/);

  await page.page.click("#diagnosis li:first-child .next a");
  await page.says("h1", /Shift changed/);
  await page.says(".verdict", /11 recipients: none took it/);
  await page.enter("queue");
  await page.page.click("#queue-deep");
  await page.says("#diagnosis li.fine", /Every page of the file was read, and is whole/);
  page.assertClean();
});

test("a hub without a care says so, and every room says what it would hold", LIMIT, async () => {
  const page = await open();
  await page.says(".verdict li.fine", /All is well/);
  await page.says(".rung .empty", /Nothing has come yet/);
  for (const [room, words] of [
    ["deliveries", /Nobody has failed to take what was theirs/],
    ["inbox", /Nothing is in this inbox/],
    ["queue", /Nobody waits for anything/],
    ["reminders", /Nothing is overdue/],
    ["webhooks", /There is no endpoint/],
    ["duplicates", /Nothing came twice/],
    ["keys", /There is no key/],
  ]) {
    await page.enter(room);
    await page.says("#room .empty", words);
  }
  page.assertClean();
});

test("the last minutes are told as numbers, as a picture, in a sentence and as a table", LIMIT, async () => {
  await stream("ann", ["ADMIN", "MANAGER"]);
  await stream("ann", ["ADMIN", "MANAGER"]);
  const page = await open();
  const chart = (title) => `figure:has(figcaption:text-is("${title}"))`;
  const number = async (title) => page.page.locator(`${chart(title)} .number`).textContent();

  await page.says("figure .number", /^3$/);
  assert.equal(await number("Streams"), "3");
  assert.equal(await number("Waiting"), "0");
  await operator.publish({ targetUserId: "ann", message: "to be counted" });
  // In the sentence that stands for the picture, the highest is known from then on.
  await page.page.waitForFunction(() =>
    [...document.querySelectorAll("figure svg")].some((one) => /Deliveries a second.*highest (0\.[1-9]|[1-9])/.test(one.ariaLabel)),
  );
  const drawn = await page.evaluate(() =>
    [...document.querySelectorAll("figure .line")].filter((line) => line.getAttribute("d").includes("L")).length,
  );
  assert.ok(drawn >= 4, `${drawn} lines are drawn`);

  await page.page.click(".as-table summary");
  await page.page.waitForFunction(() => document.querySelectorAll(".as-table tbody tr").length > 0);
  const [minute] = await page.rows("The last ten minutes");
  assert.equal(minute.Streams, "3");
  page.assertClean();
});

test("who is here is shown by role and by user, and found by name", LIMIT, async () => {
  await stream("ann", ["ADMIN", "MANAGER"]);
  await stream("ann", ["ADMIN", "MANAGER"]);
  await stream("bob", ["MAINTENANCE"]);
  const page = await open();

  const people = await page.hasRows("Streams by user", 3);
  assert.deepEqual([people[0].User, people[0].Streams, people[0].Roles], ["ann", "2", "ADMIN, MANAGER"]);
  const roles = await page.rows("Streams by role");
  assert.deepEqual(roles.map(({ Role, Streams }) => [Role, Streams]), [["ADMIN", "3"], ["MANAGER", "2"], ["MAINTENANCE", "1"]]);
  await page.page.fill("#here-filter", "mainten");
  const [found] = await page.hasRows("Streams by user", 1);
  assert.equal(found.User, "bob");
  page.assertClean();
});

test("every field of the form reaches the hub, and the curl beside it does the same", LIMIT, async () => {
  const page = await open();
  const { page: it } = page;
  await page.enter("send");
  const message = `It's late: "quote" \\ back\`tick\` $HOME !\nsecond line\ttab, Ünïcödé ☂ 漢字 \u2028 end`;
  await it.click("#empty-button");
  await it.fill("#send-users", "ann");
  await it.press("#send-users", "Enter");
  await it.fill("#send-users", "d'Artagnan");
  await it.press("#send-users", "Enter");
  await it.fill("#send-roles", "Chef d'équipe");
  await it.selectOption("#send-severity", "high");
  await it.fill("#send-title", `A 'title' & "more"`);
  await it.fill("#send-message", message);
  for (const group of await it.$$("#send details summary")) await group.click();
  await it.fill("#send-details", "details");
  await it.fill("#send-module", "orders");
  await it.fill("#send-actionType", "new_order");
  await it.fill("#send-link", "https://shop.example/orders/1?a=b&c='d'");
  await it.fill("#send-data", `{"nested": ["it's", {"n": 1}]}`);
  await it.fill("#send-deliverAt", "2027-01-02T03:04:05");
  await it.fill("#send-expiresAt", "2027-02-03T04:05:06");
  await it.selectOption("#send-numbering", "draw");
  await it.fill("#send-reference", "CNC");
  await it.fill("#send-throttle", "ticket-768");
  await it.fill("#send-window", "24h");
  await it.selectOption("#send-webhook", "never");
  await it.fill("#send-idempotencyKey", "order-1");

  await context.grantPermissions(["clipboard-read", "clipboard-write"]);
  await it.click("#beside .copy");
  await page.says("#beside .copy", /Copied/);
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), await it.textContent("#curl"));

  // The command first, with a key of its own: in a shell, word for word as it stands there.
  const command = (await it.textContent("#curl")).replace("order-1", "order-1-by-curl").replace("ticket-768", "by-curl");
  const token = await hub.token("backend", { scopes: ["publish"] });
  const run = promisify(execFile);
  const { stdout } = await run("bash", ["-c", `${command} --silent --show-error --fail-with-body`], { env: { ...process.env, TOKEN: token } });
  const byCurl = JSON.parse(stdout);
  await it.click("#send-button");
  await page.says("#send .outcome", /Accepted, and held back until its time. Its reference is CNC-/);
  const byForm = JSON.parse(await it.textContent("#answered pre"));
  assert.equal(byForm.status, "scheduled");

  const told = await Promise.all(
    [byCurl, byForm].map(({ notificationId }) => operator.call("GET", `/notifications/${notificationId}/deliveries`)),
  );
  for (const { notification, kind, status } of told) {
    assert.deepEqual([kind, status], ["notification", "scheduled"]);
    assert.deepEqual(
      [notification.message, notification.title, notification.severity, notification.details, notification.module, notification.actionType],
      [message, `A 'title' & "more"`, "high", "details", "orders", "new_order"],
    );
    assert.equal(notification.link, "https://shop.example/orders/1?a=b&c='d'");
    assert.deepEqual(notification.data, { nested: ["it's", { n: 1 }] });
    const local = (text) => new Date(text).toISOString();
    assert.equal(notification.expiresAt, local("2027-02-03T04:05:06"));
    assert.match(notification.reference, /^CNC-\d{4}-\d{4}$/);
  }
  assert.equal(told[1].deliverAt, told[0].deliverAt);

  // Under the same key the same again is answered with the first, and another is refused.
  const filled = async (words) => {
    await it.fill("#send-idempotencyKey", "once");
    await it.fill("#send-message", words);
    await it.selectOption("#send-numbering", "");
    await it.fill("#send-throttle", "");
    await it.fill("#send-window", "");
    await it.click("#send-button");
  };
  await filled("the same");
  await page.says("#send .outcome", /Accepted/);
  await filled("the same");
  await page.says("#send .outcome", /nothing was made now/);
  await filled("another");
  await page.says("#send-idempotencyKey-error", /was used for another draft/);

  // The other ways to go.
  await it.click("#empty-button");
  await it.check("#send-everyone");
  assert.equal(await it.isDisabled("#send-users"), true);
  await it.fill("#send-message", "to everyone");
  await it.selectOption("#send-kind", "broadcast");
  await page.says("#curl", /\/notifications\/broadcast'/);
  await it.click("#send-button");
  await page.says("#notifications", /to everyone/);
  await it.fill("#send-message", "gone at once");
  await it.check("#send-ephemeral");
  await it.click("#send-button");
  await page.says("#notifications", /gone at once/);
  page.assertClean({ refused: true });
});

test("what the hub refuses is said beside the field that it names, and what is no JSON is not sent", LIMIT, async () => {
  const page = await open();
  const { page: it } = page;
  await page.enter("send");
  await it.click("#empty-button");
  for (const group of await it.$$("#send details summary")) await group.click();
  await it.fill("#send-link", "javascript:alert(1)");
  await it.fill("#send-throttle", "k");
  await it.fill("#send-window", "soon");
  await it.selectOption("#send-numbering", "draw");
  await it.fill("#send-reference", "no spaces");
  for (const group of await it.$$("#send details summary")) await group.click(); // closed again
  await it.click("#send-button");
  await page.says("#send-users-error", /is missing: say targetUserId/);
  await page.says("#send-message-error", /must/);
  await page.says("#send-link-error", /must/);
  await page.says("#send-window-error", /must be/);
  await page.says("#send-reference-error", /letters and digits/);
  const marked = await it.$$eval("#send [aria-invalid=true]", (found) => found.map(({ id }) => id));
  assert.deepEqual(marked.sort(), ["send-link", "send-message", "send-reference", "send-users", "send-window"]);
  assert.equal(await it.evaluate(() => document.activeElement.id), "send-users", "the first of them is gone to");
  assert.equal(await it.isVisible("#send-link"), true, "a group with a field that is wrong opens");

  await it.fill("#send-data", "{no json");
  await page.says("#beside .hint", /Data is left out: it is not JSON/);
  await it.click("#send-button");
  await page.says("#send-data-error", /is not JSON/);
  assert.equal((await operator.call("GET", "/notifications/status")).hubs[0].counts.published, 0);
  page.assertClean({ refused: true });
});

test("why it did not arrive is answered in words, for each recipient, with the webhooks that told of it", LIMIT, async () => {
  const sink = await receiver();
  await operator.call("POST", "/webhooks", { url: sink.url, on: "undelivered" });
  await stream("ann", ["CREW"]);
  const draft = { targetUserIds: ["ann", "bob"], targetRoles: ["NIGHT"], title: "Pump 3 leaks", message: "now", reference: { prefix: "CNC" } };
  const { notificationId, reference } = await operator.publish(draft);
  await operator.failed(2);
  await operator.until("the webhook came through", `/notifications/${notificationId}/webhooks`, ({ webhooks }) => webhooks[0]?.status === "sent");
  const page = await open();

  await page.enter("deliveries");
  await page.page.fill("#find-which", reference);
  await page.page.click("#find-button");
  await page.says("h1", new RegExp(reference));
  await page.says(".verdict", /for 3 recipients: 2 did not take it, 1 got it/);
  await page.says(".verdict li", /User bob did not get it: no stream was open.*It was tried 2 times.*theirs when they come back/);
  await page.says(".verdict li", /Role NIGHT did not get it/);
  const people = await page.rows("Who it was for");
  assert.deepEqual(people.map((row) => [row.Recipient, row.Tries]).sort(), [["role NIGHT", "2"], ["user ann", "1"], ["user bob", "2"]]);
  const [told] = await page.rows("Webhooks that told of it");
  assert.match(told.Status, /sent/);
  assert.match(told.Answer, /200.*thank you/s);

  // Whoever comes back gets it, and then it has another story.
  await stream("bob");
  await operator.until("bob has it", `/deliveries?user=bob&outcome=sent`, ({ deliveries }) => deliveries.length === 1);
  await page.page.click("#story-again");
  await page.says(".verdict", /1 did not take it, 2 got it/);
  await page.keepsFocus("#story-again");
  await page.page.click('#room button:text-is("Send again")');
  await page.says("#room .said", /waits to be sent again/);
  await page.keepsFocus("table");

  await page.page.click(`#room table a:has-text("${sink.url}")`);
  await page.says("h1", /127\.0\.0\.1/);
  await page.at("#/deliveries/CNC-0000-9999");
  await page.says(".verdict", /There is no such notification/);
  page.assertClean({ refused: true });
});

test("deliveries are found by user, role, outcome and time, page by page", LIMIT, async () => {
  await stream("ann", ["CREW"]);
  for (let n = 0; n < 60; n += 1) await operator.publish({ targetUserId: "ann", message: `number ${n}` });
  await operator.publish({ targetUserId: "bob", targetRoles: ["CREW"], message: "for both" });
  await operator.failed(1);
  const page = await open();
  const { page: it } = page;

  await page.enter("deliveries");
  const [failed] = await page.hasRows("Failed, for anybody", 1);
  assert.deepEqual([failed.For, failed.Tries, failed.Why], ["user bob", "2", "no stream was open"]);

  await it.selectOption("#search-whose", "user");
  await it.fill("#search-name", "ann");
  await it.selectOption("#search-outcome", "");
  await it.click("#search-button");
  await page.hasRows("Any outcome, for user ann", 50);
  await page.says("#room .said", /50 deliveries, and there are more/);
  await it.click('#room button:text-is("Show more")');
  await page.hasRows("Any outcome, for user ann", 60);
  await page.says("#room .said", /^60 deliveries\.$/);
  await page.keepsFocus("table");
  assert.equal(await it.isVisible('#room button:text-is("Show more")'), false);
  assert.match(it.url(), /#\/deliveries\?user=ann$/, "the search can be sent as a link");

  await it.selectOption("#search-whose", "role");
  await it.fill("#search-name", "CREW");
  await it.fill("#search-since", "1h");
  await it.click("#search-button");
  await page.hasRows("Any outcome, for role CREW", 1);
  await it.fill("#search-since", "yesterday");
  await it.click("#search-button");
  await page.says("#search-since-error", /must be a time/);
  await it.goBack();
  await page.hasRows("Any outcome, for role CREW", 1);
  page.assertClean({ refused: true });
});

test("what is scheduled is cancelled from its story, after a question", LIMIT, async () => {
  const deliverAt = new Date(Date.now() + 3_600_000).toISOString();
  const { notificationId } = await operator.publish({ targetUserId: "ann", message: "later", deliverAt });
  const page = await open();
  await page.at(`#/deliveries/${notificationId}`);
  await page.says(".verdict", /held back until/);
  await page.page.click("#story-cancel");
  await page.page.click('dialog button:text-is("Leave it")');
  await page.says(".verdict", /held back until/);
  assert.equal((await operator.call("GET", `/notifications/${notificationId}/deliveries`)).status, "scheduled");
  await page.page.click("#story-cancel");
  await page.page.click("#dialog-act");
  await page.says(".verdict", /cancelled.*Nobody has it/);
  await page.keepsFocus("#heading");
  assert.equal((await operator.call("GET", `/notifications/${notificationId}/deliveries`)).status, "cancelled");
  page.assertClean();
});

test("an inbox is shown as any user sees it, filtered and page by page; one's own is marked read", LIMIT, async () => {
  const page = await open();
  const { page: it } = page;
  await (await openStream(hub, "ann", ["CREW"])).close(); // she was here once: what is for her roles is hers from then on
  for (let n = 0; n < 35; n += 1) await operator.publish({ targetUserId: "ann", message: `order ${n}`, module: "orders" });
  await operator.publish({ targetRoles: ["CREW"], title: "Line 2", message: "stopped", severity: "critical", module: "plant" });
  const own = [];
  for (const message of ["first", "second", "third"]) own.push(await operator.publish({ targetUserId: "console", message }));
  await page.shows(own[2].notificationId);

  await page.enter("inbox");
  await page.says(".verdict", /You have 3 unread/);
  await it.fill("#inbox-user", "ann");
  await it.fill("#inbox-role", "CREW");
  await it.click("#inbox-button");
  await page.says("h1", /Inbox of ann/);
  await page.says(".verdict", /ann has 36 unread/);
  await page.says(".entries li:first-child", /Line 2.*stopped/s);
  await it.click('#room button:text-is("Show more")');
  await page.says("#room .said", /^36 notifications\.$/);
  assert.equal(await it.locator("#room").getByText("Mark read").count(), 0, "only she can mark hers");
  await it.selectOption("#inbox-severity", "critical");
  await it.fill("#inbox-module", "plant");
  await it.click("#inbox-button");
  await page.says("#room .said", /^1 notification\.$/);
  await page.at("#/inbox?user=ann");
  await page.says(".verdict", /ann has 35 unread/);

  await page.at("#/inbox");
  await it.click(`.entries li[data-id="${own[1].notificationId}"] button:text-is("Mark read")`);
  await page.says(".verdict", /You have 2 unread/);
  await page.keepsFocus(".entries a");
  await page.says('#rooms a[data-room="inbox"]', /2\s*unread/);
  await it.check("#inbox-unread");
  await it.click("#inbox-button");
  await page.says("#room .said", /^2 notifications\.$/);
  await it.click("#read-all");
  await page.says(".verdict", /You have nothing unread/);
  await page.keepsFocus("#heading");
  await page.says('#rooms a[data-room="inbox"]', /0\s*all read/);
  page.assertClean();
});

test("what is stuck is shown, and released after it was shown what that would do", LIMIT, async () => {
  await operator.publish({ targetUserId: "ann", message: "stuck" });
  await operator.failed(1);
  await claimByHand(hub, 42);
  const page = await open();
  const { page: it } = page;
  await page.enter("queue");
  await page.says("#diagnosis li.alert", /1 recipient has been processing for longer than 10 min, the first for 42 min/);
  const [waits] = await page.hasRows("Owed, the oldest first", 1);
  assert.match(waits.State, /processing/);
  assert.match(waits.Next, /claimed 42 min ago/);

  await it.click('#diagnosis button:text-is("Release it here")');
  await page.says("#unlock .outcome", /1 recipient would be released. Nothing was changed/);
  const [claim] = await page.rows("Claims");
  assert.deepEqual([claim.For, claim.By, claim.Released], ["user ann", "nobody", "yes"]);
  assert.equal((await operator.call("GET", "/queue")).processing, 1);
  await it.click("#unlock-execute");
  await it.click("#dialog-act");
  await page.says("#unlock .outcome", /1 recipient was released, and is due now/);
  await page.keepsFocus("#unlock-look");
  // Nobody comes, so it fails again: it was asked after.
  await operator.failed(1);
  await it.fill("#unlock-olderThan", "soon");
  await it.click("#unlock-look");
  await page.says("#unlock-olderThan-error", /must be a duration/);
  page.assertClean({ refused: true });
});

test("reminders stand with what is overdue first, each with its history, and are ended when it is done", LIMIT, async () => {
  const sink = await receiver();
  await operator.call("POST", "/webhooks", { url: sink.url, on: "undelivered" });
  const at = (hours) => new Date(Date.now() + hours * 3_600_000).toISOString();
  const remind = (key, dueAt, title) =>
    operator.call("PUT", `/reminders/${key}`, { dueAt, repeatEvery: "24h", targetRoles: ["MAINTENANCE"], title, message: "Pump 3 leaks" });
  await remind("contract-12", at(100), "The contract ends");
  await remind("ticket-768", at(-57.5), "Ticket 768 is overdue by {overdue}");
  await operator.until("the webhook came through", "/reminders/ticket-768/history", ({ history }) => history[0]?.webhooks[0]?.status === "sent");
  const page = await open();
  const { page: it } = page;

  await page.says('#rooms a[data-room="reminders"]', /1\s*overdue/);
  await page.enter("reminders");
  const [late] = await page.hasRows("Overdue reminders", 1);
  assert.deepEqual([late.Key, late.By, late.Published], ["ticket-768", "user:campanile/ops", "1 time"]);
  assert.match(late["Overdue by"], /^2 d 9 h 3\d min$/);
  const [toCome] = await page.hasRows("Reminders to come", 1);
  assert.deepEqual([toCome.Key, toCome["Then every"]], ["contract-12", "1d"]);

  // It is somebody else's, and an administrator sees its history and ends it all the same.
  await it.click('#room a:has-text("ticket-768")');
  await page.says(".verdict", /overdue by 2 d 9 h/);
  const [published] = await page.hasRows("What was published of it", 1);
  assert.match(published.Webhooks, /sent.*answered 200/s);
  await it.click("#reminder-done");
  await it.click("#dialog-act");
  await page.says(".verdict", /It is done/);
  await page.keepsFocus("#heading");
  await page.enter("reminders");
  await page.says("#room .empty", /Nothing is overdue/);
  page.assertClean();
});

test("an endpoint of webhooks is added, tried, turned off and on, given another secret, and sent again what failed", LIMIT, async () => {
  const sink = await receiver();
  sink.status = 503;
  sink.text = "down for maintenance";
  const page = await open();
  const { page: it } = page;
  await page.enter("webhooks");
  await it.click("#endpoint-add");
  await page.says("#endpoint-url-error", /./);
  await it.fill("#endpoint-url", sink.url);
  await it.selectOption("#endpoint-on", "always");
  await it.fill("#endpoint-modules", "orders");
  await it.check("#endpoint-severities-high");
  await it.click("#endpoint-add");
  await page.says("#secret", /^whsec_/);
  const secret = await it.textContent("#secret");
  await it.keyboard.press("Escape");
  assert.equal(await it.isVisible("#secret"), true, "a stray Escape does not lose it");
  await it.click('dialog button:text-is("I have it")');
  const [listed] = await page.hasRows("Endpoints", 1);
  assert.deepEqual([listed["Is told of"], listed["If it is"]], ["everything", "from orders; high"]);
  assert.ok(!(await it.content()).includes(secret), "the secret is in the page no more");

  await operator.publish({ targetUserId: "console", message: "one", module: "orders", severity: "high" });
  await operator.publish({ targetUserId: "console", message: "two", module: "orders", severity: "high" });
  const { endpoints } = await operator.call("GET", "/webhooks");
  const history = `/webhooks/${endpoints[0].id}/deliveries`;
  const failed = (count) => operator.until(`${count} failed`, `${history}?status=failed`, ({ deliveries }) => deliveries.length === count);
  await failed(2);
  await it.click(`#room a:has-text("${sink.url}")`);
  const rows = await page.hasRows("What was sent there", 2);
  assert.match(rows[0].Status, /failed/);
  assert.match(rows[0].Answer, /503.*down for maintenance/s);

  await it.click("#endpoint-test");
  await page.says("#endpoint-said", /did not come through.*503/);
  sink.status = 200;
  sink.text = "thank you";
  await it.click("#endpoint-test");
  await page.says("#endpoint-said", /The test came through. It answered 200/);
  await it.click('#room tr:has-text("published") button:text-is("Send again")');
  await page.says("#endpoint-said", /waits to be sent again/);
  await page.keepsFocus("h2");
  // One of the three that failed is the test.
  await failed(2);
  await it.fill("#redeliver-since", "1h");
  await it.click("#redeliver-button");
  await it.click("#dialog-act");
  await page.says("#redeliver .outcome", /1 webhook waits to be sent again/);
  await failed(1);
  await it.selectOption("#history-status", "failed");
  const [left] = await page.hasRows("What was sent there", 1);
  assert.equal(left.Tells, "a test");

  await it.click("#endpoint-toggle");
  await page.says(".facts", /off, by an administrator/);
  assert.equal(await it.isDisabled("#endpoint-test"), true);
  await it.click("#endpoint-toggle");
  await page.says("#endpoint-said", /It is on/);
  await page.keepsFocus("#endpoint-toggle");
  await it.click("#endpoint-rotate");
  await it.click("#dialog-act");
  await page.says("#secret", /^whsec_/);
  assert.notEqual(await it.textContent("#secret"), secret);
  await it.click('dialog button:text-is("I have it")');
  await page.says(".facts", /The secret before signs until/);
  await page.keepsFocus("#endpoint-rotate");
  await it.click('summary:text-is("Change what it is told")');
  await it.selectOption("#change-on", "undelivered");
  await it.click('#change button[type="submit"]');
  await page.says("#change .outcome", /It was changed/);
  assert.equal((await operator.call("GET", `/webhooks/${endpoints[0].id}`)).on, "undelivered");
  await it.click("#endpoint-delete");
  await it.click("#dialog-act");
  await page.says("#room .empty", /There is no endpoint/);
  await page.keepsFocus("#heading");
  page.assertClean({ refused: true });
});

test("requests that came twice are found by their key and who sent them", LIMIT, async () => {
  const draft = { targetUserId: "ann", message: "once", idempotencyKey: "order-1" };
  const { notificationId } = await operator.publish(draft);
  await operator.publish(draft);
  await operator.call("POST", "/notifications", { ...draft, message: "another" }, { expected: 422 });
  await operator.publish({ ...draft, idempotencyKey: "order-2" });
  await operator.publish({ ...draft, idempotencyKey: "order-2" });
  const page = await open();
  await page.enter("duplicates");
  await page.hasRows("Duplicates caught", 3);
  await page.page.fill("#duplicates-key", "order-1");
  await page.page.fill("#duplicates-publisher", "user:campanile/ops");
  await page.page.fill("#duplicates-since", "1h");
  await page.page.click("#duplicates-button");
  const rows = await page.hasRows("Duplicates caught", 2);
  assert.deepEqual(
    rows.map((row) => row["What that means"]),
    ["another draft: it was refused", "the same draft: it got the first answer"],
  );
  await page.page.click("#room tbody tr:first-child a");
  await page.says("#room", new RegExp(notificationId));
  page.assertClean();
});

test("an API key is made, shown once, and revoked", LIMIT, async () => {
  const page = await open();
  const { page: it } = page;
  await page.enter("keys");
  await it.fill("#key-name", "billing");
  await it.click('#key button[type="submit"]');
  await page.says("#secret", /^cmp_/);
  const key = await it.textContent("#secret");
  await it.click('dialog button:text-is("I have it")');
  const publish = () =>
    fetch(`${hub.url}/notifications`, {
      method: "POST",
      headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
      body: JSON.stringify({ targetUserId: "ann", message: "by key" }),
    });
  assert.equal((await publish()).status, 201);
  const [made] = await page.hasRows("API keys", 1);
  assert.deepEqual([made.Name, made.Scopes], ["billing", "publish"]);
  await it.click('#room button:text-is("Revoke")');
  await it.click("#dialog-act");
  await page.says("#room .said", /billing was revoked/);
  await page.keepsFocus("#heading");
  assert.equal((await publish()).status, 401);
  page.assertClean();
});

test("who has no scope sees what is theirs and is told what takes more", LIMIT, async () => {
  const as = async (user, rights) => {
    const own = await browser.newContext();
    opened.push(own);
    await own.addCookies([{ name: "session", value: await hub.token(user, rights), url: hub.url }]);
    return ConsolePage.open(own, hub.url);
  };
  const reader = await as("ann", { roles: ["CREW"] });
  const forAnn = await operator.publish({ targetRoles: ["CREW"], message: "for the crew" });
  await reader.shows(forAnn.notificationId);
  await reader.says(".verdict", /You have 1 open stream/);
  await reader.says("#room .aside", /take the scope admin/);
  await reader.enter("inbox");
  await reader.says(".entries", /for the crew/);
  assert.equal(await reader.page.locator("#inbox-user").count(), 0, "others' inboxes are not offered");
  for (const room of ["queue", "webhooks", "duplicates", "keys"]) {
    await reader.enter(room);
    await reader.says("#locked", /takes the scope admin/);
  }
  for (const room of ["deliveries", "reminders"]) {
    await reader.enter(room);
    await reader.says("#locked", /takes the scope publish/);
  }
  await reader.enter("send");
  await reader.says("#send-forbidden", /Publishing takes the scope publish/);
  assert.equal(await reader.page.isDisabled("#send-button"), true);
  await reader.page.click("#test-button");
  await reader.says("#notifications", /This is a test notification/);
  reader.assertClean();

  const publisher = await as("shop", { scopes: ["publish"] });
  await publisher.send({ audience: "user", target: "nobody", message: "mine" });
  await publisher.says("#send .outcome", /Accepted/);
  await publisher.page.click("#answered a");
  await publisher.says("#room .letter", /mine/);
  await publisher.enter("deliveries");
  await publisher.says("#room .empty", /Say for which user or role/);
  await publisher.page.fill("#search-name", "nobody");
  await publisher.page.click("#search-button");
  await publisher.hasRows("Any outcome, for user nobody", 1);
  await publisher.at(`#/deliveries/${forAnn.notificationId}`);
  await publisher.says(".verdict", /There is no such notification/);
  await publisher.enter("reminders");
  await publisher.says("#room .empty", /Nothing is overdue/);
  publisher.assertClean({ refused: true });
});

test("counts that are old say so, and go on when the hub is back", LIMIT, async () => {
  const page = await open();
  await page.says("#hub-note", /version/);
  await hub.stop("SIGTERM");
  await page.says("#hub-note", /counts as they were/);
  await page.says(".verdict li.alert", /The hub does not answer/);
  await hub.launch();
  await page.connected();
  await page.page.waitForFunction(() => /version/.test(document.getElementById("hub-note").textContent));
  page.assertClean({ serverWentAway: true });
});
