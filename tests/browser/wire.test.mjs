// The stream as a parser reads it that others wrote and most clients are built on (npm's eventsource-parser): whatever texts
// are published, each comes out as one event with the same texts, however the bytes were cut on their way.

import assert from "node:assert/strict";
import { once } from "node:events";
import { get } from "node:http";
import { after, before, test } from "node:test";

import { createParser } from "eventsource-parser";

import { Hub, within } from "./hub.mjs";

/** How many drafts are published in each of the two forms of the stream. */
const DRAFTS = Number(process.env.CAMPANILE_TEST_CASES ?? 400);
const BATCH = 200;
const LIMIT_MS = 20_000;
const SEED = Number(process.env.CAMPANILE_TEST_SEED ?? 20_261_126);

/** Letters that end lines, fields, texts or streams for somebody, and some that nobody minds. */
const LETTERS = [
  ..."\0\b\t\n\v\f\r\x1b\x7f\x85\u2028\u2029\ufeff\u200e\u202e\u0301",
  ..."aé漢🔔 :\"\\/{}[]<>&'",
  "data: ", "id: 1", "event: bye", "retry: 1", "\n\n", "\r\n", "\r\r", ":\n", "0\r\n\r\n",
];

/** Numbers from 0 to below 1 that follow from a seed (mulberry32). */
function numbers(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const pick = (draw, list) => list[Math.floor(draw() * list.length)];

/** A draft of a few letters, which are others in each: what some fields refuse must not have all of them refused. */
function draft(draw) {
  const letters = Array.from({ length: 5 }, () => pick(draw, LETTERS));
  const text = (most) => Array.from({ length: Math.floor(draw() * most) }, () => pick(draw, letters)).join("");
  return {
    targetUserId: "42",
    message: `m${text(30)}`,
    title: `t${text(10)}`,
    details: text(60),
    data: { [text(5)]: text(20), list: [text(20), draw(), null] },
  };
}

/** The bytes of a stream, from now until it is closed. */
class Recording {
  #request;
  #chunks = [];
  #heard;

  async open(hub, query) {
    const headers = { authorization: `Bearer ${await hub.token("42")}`, accept: "text/event-stream" };
    this.#request = get(`${hub.url}/notifications/stream${query}`, { headers });
    const [response] = await within(LIMIT_MS, "the stream's head", once(this.#request, "response"));
    assert.equal(response.statusCode, 200);
    response.on("data", (chunk) => {
      this.#chunks.push(chunk);
      this.#heard?.();
    });
    response.on("error", () => {}); // we close it ourselves
    await this.until("connected");
    return this;
  }

  get bytes() {
    return Buffer.concat(this.#chunks);
  }

  async until(words) {
    const heard = async () => {
      while (!this.bytes.includes(words)) {
        await new Promise((resolve) => (this.#heard = resolve));
      }
    };
    await within(LIMIT_MS, `the stream says ${words}`, heard());
  }

  close() {
    this.#request.destroy();
  }
}

/** The events in the bytes, cut into pieces at random, in the middle of letters and line ends too. */
function parsed(bytes, draw) {
  const events = [];
  const parser = createParser({
    onEvent: (event) => events.push(event),
    onError: (error) => assert.fail(`${error.type}: ${error.message} in ${error.line ?? error.value}`),
  });
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  for (let at = 0; at < bytes.length; ) {
    const end = at + 1 + Math.floor(draw() ** 3 * 2_000);
    parser.feed(decoder.decode(bytes.subarray(at, end), { stream: true }));
    at = end;
  }
  return events;
}

let hub;
before(async () => {
  hub = await Hub.start();
});
after(() => hub?.close());

for (const [query, name] of [
  ["", "notification"],
  ["?events=unnamed", undefined],
]) {
  test(`random texts come out of eventsource-parser as they went in, in order and once (${query || "named"})`, async () => {
    const draw = numbers(SEED + query.length);
    const recording = await new Recording().open(hub, query);
    const expected = [];
    for (let published = 0; published < DRAFTS; published += BATCH) {
      const drafts = Array.from({ length: BATCH }, () => draft(draw));
      const { results } = await hub.post("/notifications/batch", "application/json", JSON.stringify(drafts));
      results.forEach(({ status, notification }, index) => {
        // A text that is refused is refused whole; it is never changed on its way.
        assert.ok(status === 201 || status === 422, `${status}`);
        if (status === 201) expected.push({ draft: drafts[index], id: notification.eventId });
      });
    }
    assert.ok(expected.length > DRAFTS / 10, `${expected.length} of ${DRAFTS} were accepted`);
    await hub.publish({ targetUserId: "42", message: "that was the last" });
    await recording.until("that was the last");
    recording.close();

    const events = parsed(recording.bytes, draw).map((event) => ({ ...event, json: JSON.parse(event.data) }));
    const notifications = events.filter(({ json }) => json.type === "notification");
    assert.equal(notifications.length, expected.length + 1);
    expected.forEach(({ draft, id }, index) => {
      const { json, ...event } = notifications[index];
      assert.equal(event.id, id);
      assert.equal(event.event, name);
      for (const field of ["message", "title", "details", "data"]) {
        assert.deepEqual(json.data[field], draft[field], `${field} of ${JSON.stringify(draft)}`);
      }
    });
    const kinds = new Set(events.map(({ json }) => json.type));
    assert.deepEqual([...kinds].sort(), ["connected", "notification", "status"]);
  });
}
