// An application that has notifications of its own making, moved over as docs/migrating.md says: first the old pages and the
// old server calls, unchanged but for a key, through the hub's alias; then the same page with the hub's hook.
//
// Run it alone with `node --test tests/browser/migrating.test.mjs`, after `tests/run` has installed what it needs.

import assert from "node:assert/strict";
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import { fileURLToPath } from "node:url";

import { build } from "vite";

import { launch } from "./chromium.mjs";
import { BINARY, Hub, output, temporaryDirectory } from "./hub.mjs";
import { notify } from "./older-app/notify.mjs";
import { session } from "./older-app/sign-in.mjs";
import { Site } from "./site.mjs";

/** A limit for each test, in milliseconds: above every wait inside, so that those can say what was missing. */
const LIMIT = { timeout: 240_000 };
/** How long a page may take until it shows what it should, in milliseconds: a backoff is 30 s at the most. */
const SHOWN_LIMIT_MS = 90_000;

const at = (path) => fileURLToPath(new URL(path, import.meta.url));

let browser;
let directory;
let hub;
let key;

before(async () => {
  browser = await launch();
  directory = await temporaryDirectory();
  // The configuration is the page's own.
  const page = await readFile(at("../../docs/migrating.md"), "utf8");
  const [, toml] = page.match(/```toml\n([^]*?)```/);
  await writeFile(join(directory, "campanile.toml"), toml);
});

after(async () => {
  await browser?.close();
  await rm(directory, { recursive: true });
});

beforeEach(async () => {
  hub = await Hub.start(["--config", join(directory, "campanile.toml")]);
  key = await output(BINARY, ["key", "create", "--data", hub.directory, "--name", "shop", "--scope", "publish"]);
});

afterEach(() => hub?.close());

for (const [name, hook, prefixes] of [
  ["the hook that the application had", undefined, ["/api/notifications/ws"]],
  ["the hub's hook in its place", at("../../static/react.js"), ["/api/notifications/ws", "/notifications"]],
]) {
  describe(`a page with ${name}`, () => {
    let pages;
    let site;
    const contexts = [];

    before(async () => {
      pages = await temporaryDirectory();
      const exactly = (find, replacement) => ({ find, replacement });
      await build({
        root: at("older-app"),
        configFile: false,
        mode: "development",
        logLevel: "error",
        define: { "process.env.NODE_ENV": '"development"' },
        esbuild: { jsx: "automatic" },
        build: { outDir: pages, minify: false },
        resolve: {
          alias: [
            exactly(/^(react|react-dom)(?=$|\/)/, `${at("node_modules")}/$1`),
            ...(hook ? [exactly(/^\.\/use-notification-sse$/, hook)] : []),
          ],
        },
      });
    });

    after(() => rm(pages, { recursive: true }));

    beforeEach(async () => {
      site = await Site.start({ directory: pages, hub: hub.url, prefixes });
    });

    afterEach(async () => {
      for (const context of contexts.splice(0)) await context.close();
      await site?.close();
    });

    /** A page of somebody who is signed in by the application's cookie. */
    async function open(user, roles) {
      const context = await browser.newContext();
      contexts.push(context);
      const value = await session(user, roles, join(hub.directory, "secret"));
      await context.addCookies([{ name: "session", value, url: site.url, httpOnly: true, sameSite: "Lax" }]);
      const page = await context.newPage();
      page.setDefaultTimeout(SHOWN_LIMIT_MS);
      await page.goto(site.url);
      await page.getByText(`connected as ${user}`).waitFor();
      return page;
    }

    /** Waits until the page shows these, from the top. */
    async function shows(page, ...expected) {
      const items = `[...document.querySelectorAll("li")].map((item) => item.textContent)`;
      try {
        await page.waitForFunction(`JSON.stringify(${items}) === ${JSON.stringify(JSON.stringify(expected))}`);
      } catch (error) {
        assert.deepEqual(await page.evaluate(items), expected, error.message);
      }
    }

    /** Presses a button and waits for the answer that the page then shows. */
    async function press(page, label, answer) {
      await page.getByRole("button", { name: label, exact: true }).click();
      await page.locator("output").filter({ hasText: answer }).waitFor();
    }

    test("has what the old calls publish: for its user, its role and everyone, and nothing else", LIMIT, async () => {
      const admin = await open("1", ["ADMIN"]);
      const customer = await open("42", ["CUSTOMER"]);
      const order = {
        targetRoles: ["ADMIN"],
        module: "orders",
        actionType: "new_order",
        message: "Nouvelle commande #123",
        details: "Commande de produits chimiques",
        severity: "medium",
        userRole: "CUSTOMER",
      };
      assert.equal((await notify(site.url, key, order)).status, 201);
      assert.equal((await notify(site.url, key, { targetUserId: "42", message: "On its way", severity: "low" })).status, 201);
      assert.equal((await notify(site.url, key, { action: "broadcast", message: "Closed on Monday" })).status, 201);
      await shows(
        admin,
        "medium|||Closed on Monday|",
        "medium|orders|new_order|Nouvelle commande #123|Commande de produits chimiques",
      );
      await shows(customer, "medium|||Closed on Monday|", "low|||On its way|");
    });

    test("shows once what was asked for twice under its id", LIMIT, async () => {
      const page = await open("42", []);
      const form = { id: 1_795_224_617_731, targetUserId: "42", message: "paid" };
      const first = await notify(site.url, key, form);
      const again = await notify(site.url, key, form);
      assert.deepEqual([first.status, again.status], [201, 200]);
      assert.deepEqual([first.body.duplicate, again.body.duplicate], [false, true]);
      await notify(site.url, key, { targetUserId: "42", message: "the last" });
      await shows(page, "medium|||the last|", "medium|||paid|");
    });

    test("has its buttons: a test, the status, and a broadcast for whoever may", LIMIT, async () => {
      const admin = await open("1", ["ADMIN"]);
      const customer = await open("42", []);
      await press(customer, "test", /^201 /);
      await shows(customer, "medium|||a test|");
      await press(customer, "status", /^200 .*"unread":0/);
      await press(customer, "broadcast", /^403 .*publish/);
      await press(admin, "broadcast", /^201 /);
      await shows(admin, "medium|||to all|");
      await shows(customer, "medium|||to all|", "medium|||a test|");
    });

    test("comes back after a restart of the hub, and on its own button, with what it missed", LIMIT, async () => {
      const page = await open("42", []);
      await notify(site.url, key, { targetUserId: "42", message: "before" });
      await shows(page, "medium|||before|");
      await hub.stop();
      await page.getByText("not connected").waitFor();
      await hub.launch();
      await notify(site.url, key, { targetUserId: "42", message: "meanwhile" });
      await page.getByText("connected as 42").waitFor();
      await shows(page, "medium|||meanwhile|", "medium|||before|");
      // What the application had keeps no place: all that it can rely on is what comes once its new stream is open.
      const reopened = page.waitForResponse((response) => /\/notifications\/(ws|stream)/.test(response.url()));
      await page.getByRole("button", { name: "reconnect" }).click();
      await reopened;
      await notify(site.url, key, { targetUserId: "42", message: "after" });
      await shows(page, "medium|||after|", "medium|||meanwhile|", "medium|||before|");
    });
  });
}

test("a form that a hub cannot take is told which field, and how", LIMIT, async () => {
  for (const [form, field, message] of [
    [{ targetUserId: "42", message: "m", severity: "warning" }, "severity", /low.*medium.*high.*critical/],
    [{ targetUserId: "42", message: "m", orderId: 7 }, "orderId", /not a known field/],
    [{ message: "m" }, "audience", /./],
    [{ targetUserId: 42, message: "m" }, "targetUserId", /must be a string/],
  ]) {
    const { status, body } = await notify(hub.url, key, form);
    assert.equal(status, 422, JSON.stringify(body));
    assert.equal(body.errors[0].field, field);
    assert.match(body.errors[0].message, message);
  }
});
