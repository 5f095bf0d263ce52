// The console in a real Chromium, served by a real hub: what a person sees, hub restarts and failing proxies included.
//
// Run it alone with `node --test tests/browser/console.test.mjs`, after `tests/run` has installed what it needs.

import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, test } from "node:test";

import { launch } from "./chromium.mjs";
import { ConsolePage } from "./console-page.mjs";
import { Hub, freePort, output, within } from "./hub.mjs";
import { FailingProxy } from "./proxy.mjs";

/** A limit for each test, in milliseconds: above every wait inside, so that those can say what was missing. */
const LIMIT = { timeout: 240_000 };

let browser;
let hub;
let context;
const opened = [];

before(async () => {
  browser = await launch();
});

after(() => browser?.close());

beforeEach(async () => {
  hub = await Hub.start();
  context = await browser.newContext();
});

afterEach(async () => {
  await context?.close();
  for (const proxy of opened.splice(0)) await proxy.close();
  await hub?.close();
});

/** The ids that the answers to publishing gave, newest first: how the list should read. */
function newestFirst(answers) {
  return answers.map((answer) => answer.notificationId).reverse();
}

/** Publishes to the console's user, one after the other; the answers in that order. */
async function publishAll(...messages) {
  const answers = [];
  for (const message of messages) answers.push(await hub.publish({ targetUserId: "console", message }));
  return answers;
}

test("the printed link opens the console, and what it sends appears", LIMIT, async () => {
  const page = await ConsolePage.open(context, hub.signInLink);

  await page.sendTest();
  await page.showsCount(1);
  await page.send({ audience: "user", target: "console", message: "the bell is cast" });
  await page.showsCount(2);
  await page.send({ audience: "role", target: "ADMIN", message: "the bell is hung" });
  await page.showsCount(3);
  await page.send({ audience: "everyone", message: "the bell is rung" });
  await page.showsCount(4);

  const [rung, hung, cast] = await page.texts();
  assert.match(rung, /the bell is rung/);
  assert.match(hung, /the bell is hung/);
  assert.match(cast, /the bell is cast/);
  assert.equal(new Set(await page.ids()).size, 4);
  page.assertClean();
});

test("the console receives what curl posts", LIMIT, async () => {
  const page = await ConsolePage.open(context, hub.signInLink);
  const token = await hub.token("billing", { scopes: ["publish"] });

  const drafts = [
    ["/notifications/create-and-notify", { targetUserId: "console", message: "for the user" }],
    ["/notifications/create-and-notify", { targetRoles: ["ADMIN"], message: "for the role" }],
    ["/notifications/create-and-notify", { everyone: true, message: "for everyone" }],
    [
      "/notifications",
      {
        action: "create-and-notify",
        targetRoles: ["ADMIN"],
        module: "orders",
        actionType: "new_order",
        message: "Nouvelle commande #123",
        details: "Commande de produits chimiques",
        severity: "medium",
      },
    ],
  ];
  const answers = [];
  for (const [path, draft] of drafts) {
    const answer = await output("curl", [
      "--silent",
      "--show-error",
      "--fail-with-body",
      "--header",
      `Authorization: Bearer ${token}`,
      "--json",
      JSON.stringify(draft),
      hub.url + path,
    ]);
    answers.push(JSON.parse(answer));
    await page.shows(answers.at(-1).notificationId);
  }

  // One for a user whom nobody is, and whom the console must not see.
  await hub.publish({ targetUserId: "somebody else", message: "not for the console" });
  const [last] = await publishAll("the last");
  await page.shows(last.notificationId);

  assert.deepEqual(await page.ids(), newestFirst([...answers, last]));
  const texts = await page.texts();
  for (const [i, [, draft]] of drafts.entries()) {
    assert.ok(texts.at(-1 - i).includes(draft.message), `${draft.message} in ${texts.at(-1 - i)}`);
  }
  page.assertClean();
});

test("the link works once, and its cookie is out of scripts' and other sites' reach", LIMIT, async () => {
  const page = await ConsolePage.open(context, hub.signInLink);

  const cookies = await context.cookies();
  assert.equal(cookies.length, 1);
  assert.equal(cookies[0].httpOnly, true);
  assert.equal(cookies[0].sameSite, "Strict");
  assert.equal(await page.evaluate(() => document.cookie), "");
  assert.ok(!(await page.evaluate(() => location.href)).includes("code="), "the code is gone from the address bar");

  const stranger = await browser.newContext();
  try {
    const spent = await stranger.request.get(hub.signInLink, { maxRedirects: 0 });
    assert.ok(spent.status() >= 400 && spent.status() < 500, `a spent link answers ${spent.status()}`);
    assert.deepEqual(await stranger.cookies(), []);
    const refused = await stranger.request.get(`${hub.url}/notifications/status`);
    assert.equal(refused.status(), 401);
  } finally {
    await stranger.close();
  }
  page.assertClean();
});

test("the page survives a restart of the hub and misses nothing", LIMIT, async () => {
  const page = await ConsolePage.open(context, hub.signInLink);
  const answers = await publishAll("shown before");
  await page.shows(answers[0].notificationId);

  answers.push(...(await publishAll("last words, one", "last words, two")));
  assert.deepEqual(await hub.stop("SIGTERM"), { code: 0, signal: null });
  await page.disconnected();

  await hub.launch();
  answers.push(...(await publishAll("at once, one", "at once, two")));
  await page.shows(answers.at(-1).notificationId);
  await page.connected();
  answers.push(...(await publishAll("live again")));
  await page.shows(answers.at(-1).notificationId);

  assert.deepEqual(await page.ids(), newestFirst(answers));
  page.assertClean({ serverWentAway: true });
});

test("the page survives a hub that is killed while it takes notifications", LIMIT, async () => {
  const page = await ConsolePage.open(context, hub.signInLink);
  const answers = [];

  // Twenty publishers at once; killed as soon as half of them have been answered. The others' notifications may
  // have been stored or not, and their publishers know neither.
  let answered;
  const half = new Promise((resolve) => {
    answered = () => answers.length >= 10 && resolve();
  });
  const publishers = Array.from({ length: 20 }, (_, i) =>
    publishAll(`in flight ${i}`).then(
      ([answer]) => {
        answers.push(answer);
        answered();
      },
      () => {},
    ),
  );
  await within(20_000, "half of the publishers are answered", half);
  assert.deepEqual(await hub.stop("SIGKILL"), { code: null, signal: "SIGKILL" });
  await Promise.all(publishers);
  await page.disconnected();

  await hub.launch();
  const [last] = await publishAll("after the crash");
  await page.shows(last.notificationId);

  const ids = await page.ids();
  assert.equal(new Set(ids).size, ids.length, "nothing is doubled");
  assert.equal(ids[0], last.notificationId);
  const position = (answer) => Number(answer.eventId.split("-").at(-1));
  const acknowledged = newestFirst(answers.sort((a, b) => position(a) - position(b)));
  const known = new Set(acknowledged);
  assert.deepEqual(
    ids.filter((id) => known.has(id)),
    acknowledged,
    "every acknowledged notification is shown, in the order of the log",
  );
  assert.ok(ids.length <= 21, "nothing is shown that was not published");
  page.assertClean({ serverWentAway: true });
});

test("a proxy that answers 502 for a while does not silence the page", LIMIT, async () => {
  const proxy = await FailingProxy.start(hub.url, await freePort());
  opened.push(proxy);
  const page = await ConsolePage.open(context, hub.signInLink.replace(hub.url, proxy.url));
  const answers = await publishAll("through the proxy");
  await page.shows(answers[0].notificationId);

  // The hub is there all the while, the page cannot reach it.
  const twice = proxy.refused(2);
  proxy.fail();
  await page.disconnected();
  answers.push(...(await publishAll("while the proxy fails, one", "while the proxy fails, two")));
  await twice;
  proxy.heal();
  await page.shows(answers.at(-1).notificationId);
  await page.connected();

  // The hub is restarted behind it: these are published after the restart and certainly before the page is back.
  const again = proxy.refused(1);
  proxy.fail();
  await page.disconnected();
  answers.push(...(await publishAll("before the restart")));
  await hub.stop("SIGTERM");
  await hub.launch();
  answers.push(...(await publishAll("after the restart, one", "after the restart, two")));
  await again;
  proxy.heal();
  await page.shows(answers.at(-1).notificationId);
  await page.connected();
  answers.push(...(await publishAll("live again")));
  await page.shows(answers.at(-1).notificationId);

  assert.deepEqual(await page.ids(), newestFirst(answers));
  page.assertClean({ serverWentAway: true });
});

test("markup in a notification is shown as text", LIMIT, async () => {
  const page = await ConsolePage.open(context, hub.signInLink);
  const markup = `<img src=x onerror="window.harmed = true"><script>window.harmed = true</script>`;

  const { notificationId } = await hub.publish({
    targetUserId: "console",
    title: `title ${markup}`,
    message: `message ${markup}`,
    details: `details ${markup}`,
    module: markup,
    actionType: markup,
  });
  await page.shows(notificationId);
  await page.send({ audience: "user", target: "console", title: markup, message: `sent ${markup}` });
  await page.showsCount(2);

  const [sent, published] = await page.texts();
  assert.ok(published.includes(`title ${markup}`), published);
  assert.ok(published.includes(`message ${markup}`), published);
  assert.ok(sent.includes(`sent ${markup}`), sent);
  const elements = () => document.querySelectorAll("#notifications img, #notifications script").length;
  assert.equal(await page.evaluate(elements), 0);
  assert.equal(await page.evaluate(() => "harmed" in window), false);
  page.assertClean(); // a request for the image would have been a violation of the policy, or a 404
});
