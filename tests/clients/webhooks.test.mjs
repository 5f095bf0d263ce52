// Webhooks as others' libraries verify them: npm's and PyPI's `standardwebhooks` take what the hub has signed, under
// either secret while one is being rotated, and refuse it when a byte is changed.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";

import { BINARY, Hub, Program, TOOLS, output, within } from "../browser/hub.mjs";

const { Webhook } = createRequire(new URL("../browser/", import.meta.url))("standardwebhooks");

/** How long a webhook may take to arrive, in milliseconds. */
const ARRIVAL_LIMIT_MS = 20_000;

const PYTHON = join(TOOLS, "python", "bin", "python");
const VERIFY = fileURLToPath(new URL("verify_webhook.py", import.meta.url));

let hub;
let receiver;

before(async () => {
  hub = await Hub.start(["--webhook-allow", "127.0.0.0/8"]);
  receiver = createServer();
  receiver.listen(0, "127.0.0.1");
  await once(receiver, "listening");
});

after(async () => {
  receiver?.close();
  await hub?.close();
});

/** The next webhook: its headers, and its body as text. */
async function received() {
  const [request, response] = await within(ARRIVAL_LIMIT_MS, "a webhook arrives", once(receiver, "request"));
  request.setEncoding("utf8");
  let body = "";
  for await (const chunk of request) body += chunk;
  response.writeHead(204).end();
  return { headers: request.headers, body };
}

/** Whether PyPI's library takes it. */
async function pythonTakes(secret, { headers, body }) {
  const python = new Program(PYTHON, [VERIFY], {
    env: { WEBHOOK: JSON.stringify({ secret, headers, body }) },
  });
  return (await python.ended).code === 0;
}

test("others' libraries take what the hub signed, and nothing else", { timeout: 60_000 }, async () => {
  const url = `http://127.0.0.1:${receiver.address().port}/`;
  const webhook = (...args) => output(BINARY, ["webhook", ...args, "--data", hub.directory]);
  const before = await webhook("add", url, "--on", "always");
  const { endpoints } = JSON.parse(await webhook("list", "--json"));
  const rotated = await webhook("rotate", endpoints[0].id);

  const arrival = received();
  await hub.publish({ everyone: true, message: "carriage\rreturn, \u2028separator, \u{1F514}" });
  const told = await arrival;
  for (const secret of [before, rotated]) {
    assert.equal(new Webhook(secret).verify(told.body, told.headers).type, "notification.created");
    assert.ok(await pythonTakes(secret, told));
  }
  const changed = { ...told, body: told.body.replace("separator", "Separator") };
  assert.throws(() => new Webhook(before).verify(changed.body, changed.headers));
  assert.equal(await pythonTakes(before, changed), false);
});
