// The React example in a real Chromium, against a real hub: as its README starts it, and built with React 18 and with
// React 19, each a development build, in which StrictMode mounts everything twice.
//
// Run it alone with `node --test tests/browser/react.test.mjs`, after `tests/run` has installed what it needs.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { readFile, rm, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import { fileURLToPath } from "node:url";

import { build } from "vite";

import { launch } from "./chromium.mjs";
import { ExamplePage } from "./example-page.mjs";
import { BINARY, Hub, Program, freePort, temporaryDirectory, within } from "./hub.mjs";
import { Site } from "./site.mjs";

/** A limit for each test, in milliseconds: above every wait inside, so that those can say what was missing. */
const LIMIT = { timeout: 240_000 };

const at = (path) => fileURLToPath(new URL(path, import.meta.url));
const EXAMPLE = at("../../examples/react");
const AXE = createRequire(import.meta.url).resolve("axe-core");

let browser;
let hub;
let context;

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
  await hub?.close();
});

/** The open streams of the hub. */
async function streams() {
  const authorization = `Bearer ${await hub.token("root", { scopes: ["admin"] })}`;
  const answer = await fetch(`${hub.url}/notifications/connections`, { headers: { authorization } });
  return (await answer.json()).connections.map(({ connectionId }) => connectionId);
}

/** Waits until there is one stream, and returns its id. A tab that comes ends its own once it hears another's. */
async function oneStream() {
  const found = (async () => {
    for (;;) {
      const open = await streams();
      if (open.length === 1) return open[0];
    }
  })();
  return within(20_000, "there is one stream", found);
}

/** Publishes to the example's user. */
function publish(message, more) {
  return hub.publish({ targetUserId: "demo", message, ...more });
}

/** Runs one of npm's programs to its end, which must be a good one. */
async function succeeds(...args) {
  const program = new Program(process.execPath, args);
  const { code } = await within(200_000, `${args[0]} ends`, program.ended);
  assert.equal(code, 0, program.said);
}

/** The example, started as its README says; `then` is given its address. */
async function started(then) {
  const port = await freePort();
  const vite = join(EXAMPLE, "node_modules/vite/bin/vite.js");
  const flags = ["--host", "127.0.0.1", "--port", `${port}`, "--strictPort", "--clearScreen", "false"];
  const server = new Program(process.execPath, [vite, ...flags], {
    cwd: EXAMPLE,
    env: { HUB: hub.url, CAMPANILE: BINARY, CAMPANILE_SERVE_DATA: hub.directory, TOKEN: "", NO_COLOR: "1" },
  });
  try {
    await server.line(/Local:/);
    return await then(`http://127.0.0.1:${port}`);
  } finally {
    await server.end();
  }
}

test("the example's own build passes its type check", LIMIT, async () => {
  const outDir = await temporaryDirectory();
  try {
    await succeeds(join(EXAMPLE, "node_modules/typescript/bin/tsc"), "-p", EXAMPLE);
    await succeeds(join(EXAMPLE, "node_modules/vite/bin/vite.js"), "build", EXAMPLE, "--outDir", outDir);
    assert.match(await readFile(join(outDir, "index.html"), "utf8"), /<script type="module"/);
  } finally {
    await rm(outDir, { recursive: true });
  }
});

test("the types of the hook hold what they promise under tsc --strict", LIMIT, async () => {
  await succeeds(at("node_modules/typescript/bin/tsc"), "-p", at("unit-react"));
});

test("started as its README says, it is live; fast refresh keeps its one connection", LIMIT, async () => {
  await started(async (url) => {
    const page = await ExamplePage.open(context, url);
    const open = await streams();
    assert.equal(open.length, 1, "StrictMode and four components have one stream");

    await page.page.getByLabel("Message").fill("from the page itself");
    await page.page.getByRole("button", { name: "Send" }).click();
    await page.toasts.getByText("from the page itself").waitFor();
    await page.unread(1);

    // A file that was written, with nothing changed in it, is refreshed as well.
    const now = new Date();
    const updated = page.page.waitForEvent("console", (message) => /hot updated: \/src\/Bell\.tsx/.test(message.text()));
    await utimes(join(EXAMPLE, "src/Bell.tsx"), now, now);
    await updated;
    await publish("after the refresh");
    await page.toasts.getByText("after the refresh").waitFor();
    await page.unread(2);
    assert.equal(await page.toasts.getByRole("listitem").filter({ hasText: "after the refresh" }).count(), 1);
    assert.deepEqual(await streams(), open);
    page.assertClean();
  });
});

test("a page without a bundler takes the hook from the hub, and says in an import map where React is", LIMIT, async () => {
  const directory = await temporaryDirectory();
  const token = await hub.token("demo");
  const site = await Site.start({
    directory,
    hub: hub.url,
    prefixes: ["/notifications", "/campanile.js", "/react.js"],
    headers: { authorization: `Bearer ${token}` },
  });
  try {
    // React comes as no module of its own; others offer it as one.
    await writeFile(
      join(directory, "entry.js"),
      `import React from "react";
       export { createRoot } from "react-dom/client";
       export const { createElement, useCallback, useEffect, useInsertionEffect, useMemo, useRef, useSyncExternalStore } = React;`,
    );
    await build({
      configFile: false,
      logLevel: "error",
      define: { "process.env.NODE_ENV": '"production"' },
      build: { outDir: directory, emptyOutDir: false, lib: { entry: join(directory, "entry.js"), formats: ["es"], fileName: () => "modules.js" } },
      resolve: { alias: [{ find: /^(react|react-dom)(?=$|\/)/, replacement: `${at("node_modules")}/$1` }] },
    });
    await writeFile(
      join(directory, "index.html"),
      `<!doctype html><title>bare</title><body>
       <script type="importmap">{ "imports": { "react": "/modules.js", "react-dom/client": "/modules.js" } }</script>
       <script type="module">
         import { createElement } from "react";
         import { createRoot } from "react-dom/client";
         import { useNotificationSSE } from "/react.js";
         const Bell = () => {
           const { unread, notifications } = useNotificationSSE();
           return createElement("output", null, unread + " unread: " + notifications.map(({ message }) => message));
         };
         createRoot(document.body).render(createElement(Bell));
       </script>`,
    );
    await publish("it rings");
    const page = await context.newPage();
    page.setDefaultTimeout(20_000);
    await page.goto(site.url);
    await page.getByText("1 unread: it rings").waitFor();
  } finally {
    await site.close();
    await rm(directory, { recursive: true });
  }
});

for (const [react, modules] of [
  ["React 19", "node_modules"],
  ["React 18", "react18/node_modules"],
]) {
  describe(`the example with ${react}`, () => {
    let directory;
    let site;

    before(async () => {
      directory = await temporaryDirectory();
      await build({
        root: EXAMPLE,
        configFile: false,
        mode: "development",
        logLevel: "error",
        define: { "process.env.NODE_ENV": '"development"' },
        build: { outDir: directory, minify: false },
        resolve: {
          alias: [
            { find: /^campanile$/, replacement: at("../../static/campanile.js") },
            { find: /^campanile\/react$/, replacement: at("../../static/react.js") },
            { find: /^(react|react-dom)(?=$|\/)/, replacement: `${at(modules)}/$1` },
          ],
        },
      });
    });

    after(() => directory && rm(directory, { recursive: true }));

    beforeEach(async () => {
      const token = await hub.token("demo", { roles: ["DEMO"], scopes: ["publish"] });
      const headers = { authorization: `Bearer ${token}` };
      site = await Site.start({ directory, hub: hub.url, prefixes: ["/notifications"], headers });
    });

    afterEach(() => site?.close());

    test("what is sent rings the bell, is a toast and stands in the list, as text", LIMIT, async () => {
      const page = await ExamplePage.open(context, site.url);
      assert.ok(page.said.some((line) => /React DevTools/.test(line)), "this is a development build");
      assert.equal((await streams()).length, 1);

      const attack = `<img src=x onerror="document.title='attacked'">`;
      await publish(attack, { title: "<b>Bold</b>", severity: "low" });
      await publish("The bell tower is on fire", { severity: "critical" });
      await page.unread(2);
      await page.toasts.getByText("The bell tower is on fire").waitFor();
      assert.equal(await page.page.locator("[aria-live=polite] li").filter({ hasText: attack }).count(), 1);
      assert.equal(await page.page.locator("[aria-live=assertive] li").filter({ hasText: "on fire" }).count(), 1);

      await page.bell.click();
      await page.lists("The bell tower is on fire*", `${attack}*`);
      assert.equal(await page.page.locator("[role=dialog] img, [role=dialog] b").count(), 0);
      assert.equal(await page.page.title(), "Campanile with React");
      page.assertClean();
    });

    test("the inbox is there after a reload, each once, and what was read stays read", LIMIT, async () => {
      for (const message of ["one", "two", "three"]) await publish(message);
      const page = await ExamplePage.open(context, site.url);
      await page.unread(3);
      await page.bell.click();
      await page.lists("three*", "two*", "one*");

      await page.page.getByRole("button", { name: "Mark as read: two" }).click();
      await page.lists("three*", "two", "one*");
      await page.unread(2);
      await page.page.reload();
      await page.unread(2);
      await page.bell.click();
      await page.lists("three*", "two", "one*");

      await page.page.getByRole("button", { name: "Mark all read" }).click();
      await page.lists("three", "two", "one");
      await page.unread(0);
      await publish("four");
      await page.lists("four*", "three", "two", "one");
      page.assertClean();
    });

    test("two tabs have one stream, and what is read in one is read in the other", LIMIT, async () => {
      const first = await ExamplePage.open(context, site.url);
      const second = await ExamplePage.open(context, site.url);
      await publish("for both");
      for (const page of [first, second]) {
        await page.toasts.getByText("for both").waitFor();
        await page.unread(1);
        await page.bell.click();
        await page.lists("for both*");
      }
      await oneStream();
      await first.page.getByRole("button", { name: "Mark as read: for both" }).click();
      await second.lists("for both");
      await second.unread(0);
      for (const page of [first, second]) page.assertClean();
    });

    test("it survives a restart of the hub, and shows what was published meanwhile, each once", LIMIT, async () => {
      const page = await ExamplePage.open(context, site.url);
      await publish("before");
      await page.unread(1);
      await page.bell.click();
      assert.deepEqual(await hub.stop("SIGTERM"), { code: 0, signal: null });
      await page.disconnected();
      await hub.launch();
      await publish("after");
      await page.connected();
      await page.lists("after*", "before*");
      await page.unread(2);
      page.assertClean({ hubWentAway: true });
    });

    test("the keyboard reaches everything and never loses its place", LIMIT, async () => {
      const page = await ExamplePage.open(context, site.url);
      const { keyboard } = page.page;
      const focused = () => page.page.evaluate(() => document.activeElement.ariaLabel ?? document.activeElement.textContent);
      await publish("one", { severity: "low" });
      await publish("two", { severity: "low" });
      await page.unread(2);

      await page.bell.focus();
      await keyboard.press("Enter");
      assert.equal(await focused(), "Notifications", "the list has the focus");
      await keyboard.press("Tab");
      assert.equal(await focused(), "Mark all read");
      await keyboard.press("Tab");
      assert.equal(await focused(), "Mark as read: two");
      await keyboard.press("Enter");
      await page.lists("two", "one*");
      assert.match(await focused(), /^two/, "its button is gone; the notification has the focus");
      await keyboard.press("Tab");
      assert.equal(await focused(), "Mark as read: one");
      await keyboard.press("Escape");
      await page.list.waitFor({ state: "hidden" });
      assert.match(await focused(), /^Notifications, 1 unread/);
      page.assertClean();
    });

    for (const colorScheme of modules === "node_modules" ? ["light", "dark"] : []) {
      test(`axe finds no serious fault in it, ${colorScheme}`, LIMIT, async () => {
        await context.close();
        context = await browser.newContext({ colorScheme });
        const page = await ExamplePage.open(context, site.url);
        for (const severity of ["low", "medium", "high", "critical"]) await publish(`how it looks: ${severity}`, { severity });
        await page.unread(4);
        await page.bell.click();
        await page.page.getByRole("button", { name: "Mark as read: how it looks: low" }).click();
        await page.unread(3);
        await page.page.evaluate(() => Promise.all(document.getAnimations().map(({ finished }) => finished)));
        await page.page.addScriptTag({ path: AXE });
        const { violations } = await page.page.evaluate(() => globalThis.axe.run());
        const serious = violations.filter(({ impact }) => ["serious", "critical"].includes(impact));
        const found = serious.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`);
        assert.deepEqual(found, []);
      });
    }
  });
}
