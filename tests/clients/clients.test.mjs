// Clients that others wrote, against a real hub: each receives a thousand notifications, in order, each once and
// unharmed, directly and through nginx with its default buffering.
//
// Run it alone with `node --test tests/clients/clients.test.mjs`, after `tests/run` has installed what it needs.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { Hub } from "../browser/hub.mjs";
import { CLIENTS, ForeignClient } from "./foreign-clients.mjs";
import { Nginx } from "./nginx.mjs";

/** A limit for each test, in milliseconds: above every wait inside, so that those can say what was missing. */
const LIMIT = { timeout: 180_000 };

/** How long a thousand notifications may take to arrive after the last was accepted, in milliseconds. */
const ARRIVAL_LIMIT_MS = 60_000;

/**
 * How long one may take, in milliseconds. Less than the 15 s to the next heartbeat, which would push a buffered one
 * along and hide the fault.
 */
const PROMPT_MS = 5_000;

/**
 * Texts that parsers stumble on: the line ends that only some languages know (U+0085, U+2028, U+2029), those that
 * all know, a field's beginning, a byte order mark, characters of two to four bytes, quotes and backslashes.
 */
const TEXTS = [
  "plain",
  "next\u0085line, line\u2028separator, paragraph\u2029separator",
  "carriage\rreturn, line\nfeed, both\r\n, two\n\nof them",
  "data: not a field\nid: 7\n\nevent: none",
  "\uFEFFmarked, \u00E9\u00E8, \u6F22\u5B57, \u{1F514}",
  'a "quote", a \\backslash\\, a \u000Bvertical tab\u000C and a form feed',
];

/** The drafts numbered from `first`: the number is in the text, so that the texts alone prove the order. */
function drafts(user, first, count) {
  return Array.from({ length: count }, (_, i) => ({
    targetUserId: user,
    message: `${first + i} ${TEXTS[(first + i) % TEXTS.length]}`,
  }));
}

let hub;
let nginx;

before(async () => {
  hub = await Hub.start();
  nginx = await Nginx.start(hub.url);
});

after(async () => {
  await nginx?.close();
  await hub?.close();
});

/** Publishes a thousand drafts, in each of the ways there are; they come back as they were sent. */
async function publishThousand(user, base) {
  const lines = drafts(user, 0, 400);
  await hub.post("/notifications/batch", "application/x-ndjson", lines.map(JSON.stringify).join("\n"), base);
  const array = drafts(user, 400, 400);
  await hub.post("/notifications/batch", "application/json", JSON.stringify(array), base);
  const single = drafts(user, 800, 200);
  for (const draft of single) await hub.publish(draft, base);
  return [...lines, ...array, ...single];
}

/** Publishes one after the other, each when the one before has arrived: nothing pushes it along. */
async function eachAtOnce(t, name, base, way) {
  const user = `${name}, ${way}, at once`;
  const client = await ForeignClient.follow(name, base, await hub.token(user));
  try {
    const took = [];
    for (let count = 1; count <= 20; count += 1) {
      const sent = performance.now();
      await hub.publish({ targetUserId: user, message: `number ${count}` }, base);
      await client.receives(count, PROMPT_MS);
      took.push(performance.now() - sent);
    }
    took.sort((a, b) => a - b);
    t.diagnostic(`from sending to arrival: median ${took[10].toFixed(1)} ms, worst ${took[19].toFixed(1)} ms`);
  } finally {
    await client.close();
  }
}

for (const [way, base] of [
  ["directly", () => hub.url],
  ["through nginx", () => nginx.url],
]) {
  describe(way, () => {
    for (const name of CLIENTS) {
      test(`${name} receives 1,000 notifications in order`, LIMIT, async () => {
        const user = `${name}, ${way}`;
        const client = await ForeignClient.follow(name, base(), await hub.token(user));
        try {
          const published = await publishThousand(user, base());
          await client.receives(published.length, ARRIVAL_LIMIT_MS);

          // One more, so that anything doubled at the end would have come before it.
          await hub.publish({ targetUserId: user, message: "the end" }, base());
          await client.receives(published.length + 1, ARRIVAL_LIMIT_MS);
          const received = client.notifications;
          assert.deepEqual(
            received.map(({ data }) => data.message),
            [...published.map(({ message }) => message), "the end"],
          );
          const positions = received.map(({ id }) => Number(id.split("-").at(-1)));
          assert.ok(positions.every((position, i) => i === 0 || position > positions[i - 1]), "the ids rise");
        } finally {
          await client.close();
        }
      });

      test(`${name} receives each notification at once`, LIMIT, (t) => eachAtOnce(t, name, base(), way));
    }
  });
}

test("each arrives at once through an nginx that nobody has set up for streams", LIMIT, async (t) => {
  const bare = await Nginx.startBare(hub.url);
  try {
    await eachAtOnce(t, "curl", bare.url, "through a bare nginx");
  } finally {
    await bare.close();
  }
});

test("a batch above nginx's own limit for bodies passes with the quoted settings", LIMIT, async () => {
  const batch = drafts("nobody", 0, 1_000).map((draft) => ({ ...draft, details: "x".repeat(2_000) }));
  const body = JSON.stringify(batch);
  assert.ok(body.length > 1024 * 1024);
  await hub.post("/notifications/batch", "application/json", body, nginx.url);
});

test("the hub asks proxies for no buffering and for no transformation", LIMIT, async () => {
  const leave = new AbortController();
  const response = await fetch(`${hub.url}/notifications/stream`, {
    headers: { authorization: `Bearer ${await hub.token("headers")}` },
    signal: leave.signal,
  });
  assert.equal(response.status, 200);
  assert.equal(response.headers.get("x-accel-buffering"), "no");
  assert.equal(response.headers.get("cache-control"), "no-cache, no-transform");
  assert.equal(response.headers.get("content-type"), "text/event-stream; charset=utf-8");
  leave.abort();
});
