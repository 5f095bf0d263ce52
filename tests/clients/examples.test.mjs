// The examples as the README names them: what one publishes, the other prints.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";

import { Hub, Program } from "../browser/hub.mjs";

const example = (name) => fileURLToPath(new URL(`../../examples/${name}`, import.meta.url));

let hub;

before(async () => {
  hub = await Hub.start();
});

after(async () => {
  await hub?.close();
});

test("what publish.mjs sends, subscribe.mjs prints", { timeout: 60_000 }, async () => {
  const run = (name, args, token) =>
    new Program(process.execPath, [example(name), ...args], { env: { HUB: hub.url, TOKEN: token } });
  const subscriber = run("subscribe.mjs", [], await hub.token("42"));
  try {
    await subscriber.line(/^listening for 42$/);
    const publisher = run("publish.mjs", ["42", "Your order has left"], await hub.token("shop", { scopes: ["publish"] }));
    await publisher.line(/^201 /);
    assert.deepEqual(await publisher.ended, { code: 0, signal: null });
    await subscriber.line(/^\[low\] Your order has left$/);
  } finally {
    await subscriber.end();
  }
});
