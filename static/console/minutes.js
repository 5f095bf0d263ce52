// The last minutes, as charts side by side that are pointed at together, and as a table for whoever cannot see them.

import { chart, niceAge, niceCount } from "./chart.js";
import { el, table } from "./dom.js";
import { age, count, many, timeOfDay } from "./words.js";

const MINUTE_MS = 60_000;

const perSecond = (value) => (Number.isInteger(value) || value >= 10 ? count(Math.round(value)) : value.toFixed(1));

/**
 * Its `draw` shows what the pulse has kept.
 *
 * @param {object} pulse
 * @param {string[]} [which] of `streams`, `waiting`, `oldest`, `rate`
 */
export function minutes(pulse, which = ["streams", "waiting", "oldest", "rate"]) {
  let pointed = null;
  const point = (at) => {
    pointed = at;
    all.forEach(([one, words]) => one.at(at, words()));
  };
  const status = (read) => pulse.status.hubs.reduce((sum, one) => sum + read(one), 0);
  const streams = chart({ title: "Streams", series: [{ key: "streams", label: "streams" }], say: count, point });
  const waiting = chart({
    title: "Waiting",
    series: [
      { key: "waits", label: "waiting" },
      { key: "depth", label: "in the queue" },
    ],
    say: count,
    point,
  });
  const oldest = chart({ title: "Age of the oldest that is owed", short: "Oldest owed", series: [{ key: "oldestMs", label: "age" }], say: (ms) => (ms ? age(ms) : "0 s"), scale: niceAge, point });
  const rate = chart({ title: "Deliveries a second", short: "Deliveries/s", series: [{ key: "rate", label: "deliveries a second" }], say: perSecond, scale: niceCount, point });
  const made = {
    streams: [streams, () => many(status((hub) => hub.streams.users), "user")],
    waiting: [
      waiting,
      () => [
        el("span", { class: "swatch" }, "in all"),
        el("span", { class: "swatch thin" }, `${count(status((hub) => hub.queue.depth))} in the queue`),
      ],
    ],
    oldest: [oldest, () => (status((hub) => hub.queue.pending) ? "since it was accepted" : "nobody is owed anything")],
    rate: [rate, () => `${count(status((hub) => hub.counts.delivered))} since the start`],
  };
  const all = which.map((name) => made[name]);
  const byTheMinute = table({
    caption: "The last ten minutes, minute by minute",
    columns: [
      { head: "Minute from", cell: (row) => timeOfDay(row.from) },
      { head: "Streams", cell: (row) => row.streams, kind: "number" },
      { head: "Waiting", cell: (row) => row.waits, kind: "number" },
      { head: "In the queue", cell: (row) => row.depth, kind: "number" },
      { head: "Oldest", cell: (row) => row.oldest, kind: "number" },
      { head: "Deliveries a second", cell: (row) => row.rate, kind: "number" },
    ],
  });
  const asTable = el("details", { class: "as-table", on: { toggle: () => again() } }, el("summary", {}, "The same as a table"), byTheMinute.element);
  const element = el(
    "section",
    { "aria-label": "The last ten minutes" },
    el("div", { class: "charts" }, all.map(([one]) => one.element)),
    asTable,
  );
  let shown = null;
  function again() {
    shown = null;
    draw();
  }
  function draw() {
    const at = Date.now();
    all.forEach(([one, words]) => {
      one.draw(pulse.samples, at, words());
      if (pointed !== null) one.at(pointed, words());
    });
    // Once a minute, so that it can be read.
    const minute = Math.floor(at / MINUTE_MS);
    if (!asTable.open || shown === minute) return;
    shown = minute;
    byTheMinute.clear();
    byTheMinute.add(byMinute(pulse.samples));
  }
  return { element, draw };
}

/** The highest of each minute, and of the rate the mean; the newest first. */
function byMinute(samples) {
  const groups = new Map();
  for (const one of samples) {
    const from = Math.floor(one.at / MINUTE_MS) * MINUTE_MS;
    if (!groups.has(from)) groups.set(from, []);
    groups.get(from).push(one);
  }
  const known = (group, key) => group.map((one) => one[key]).filter((value) => value !== undefined);
  return [...groups].reverse().map(([from, group]) => {
    const highest = (key, say = count) => {
      const values = known(group, key);
      return values.length ? say(Math.max(...values)) : "–";
    };
    const rates = known(group, "rate");
    return {
      from,
      streams: highest("streams"),
      waits: highest("waits"),
      depth: highest("depth"),
      oldest: highest("oldestMs", (ms) => (ms ? age(ms) : "–")),
      rate: rates.length ? perSecond(rates.reduce((all, one) => all + one, 0) / rates.length) : "–",
    };
  });
}

