// A number over the last ten minutes: as a number, as a line, and in a sentence.
//
// Each chart has one colour; a second line in it is told apart by being thin and dark, and both are named beside it.
// The drawing is stretched to its place, so nothing in it is a letter: words stand around it.

import { el, fill, svg } from "./dom.js";
import { WINDOW_MS } from "./pulse.js";
import { timeOfDay } from "./words.js";

const WIDTH = 600;
const HEIGHT = 100;
/** How much of the ten minutes is drawn: as much as is known, in round numbers. */
const SPANS_MS = [60_000, 120_000, 300_000, WINDOW_MS];
/** Room above the highest value, and for half a line's width below the lowest. */
const TOP = 6;
const BOTTOM = 2;
/** Between two samples further apart than this nothing is known. */
const GAP_MS = 70_000;

/**
 * @param {object} options
 * @param {string} options.title
 * @param {string} [options.short] the title where there is little room
 * @param {{key: string, label: string}[]} options.series the first is the one whose number is large
 * @param {(value: number) => string} options.say a value in words
 * @param {(highest: number) => number} [options.scale] where the axis ends
 * @param {(at: number|null) => void} options.point the moment that is pointed at, for all charts at once
 */
export function chart({ title, short = title, series, say, scale = niceCount, point }) {
  const [main, ...others] = series;
  const number = el("p", { class: "number" }, "–");
  const note = el("p", { class: "note" });
  const ceiling = el("span", { class: "ceiling" });
  const begin = el("span", {});
  const area = svg("path", { class: "area" });
  const lines = series.map((_, i) => svg("path", { class: i ? "line thin" : "line", "vector-effect": "non-scaling-stroke" }));
  const hair = svg("line", { class: "hair", y1: 0, y2: HEIGHT, "vector-effect": "non-scaling-stroke", visibility: "hidden" });
  const dot = svg("path", { class: "dot", "vector-effect": "non-scaling-stroke" });
  const drawing = svg(
    "svg",
    { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" },
    svg("line", { class: "top", x1: 0, x2: WIDTH, y1: TOP, y2: TOP, "vector-effect": "non-scaling-stroke" }),
    svg("line", { class: "base", x1: 0, x2: WIDTH, y1: HEIGHT - BOTTOM, y2: HEIGHT - BOTTOM, "vector-effect": "non-scaling-stroke" }),
    area,
    lines,
    dot,
    hair,
  );
  const element = el(
    "figure",
    { class: "chart" },
    el("figcaption", {}, short),
    number,
    note,
    el("div", { class: "plot" }, drawing, ceiling),
    el("div", { class: "axis", "aria-hidden": "true" }, begin, el("span", {}, "now")),
  );

  let samples = [];
  let now = 0;
  let spanMs = WINDOW_MS;
  drawing.addEventListener("pointermove", (event) => {
    const { left, width } = drawing.getBoundingClientRect();
    point(now - spanMs * (1 - (event.clientX - left) / width));
  });
  drawing.addEventListener("pointerleave", () => point(null));

  const values = (key) => samples.map((one) => one[key]).filter((value) => value !== undefined);
  const x = (at) => WIDTH * (1 - (now - at) / spanMs);

  /** Draws the samples as they are now. `words`, texts or elements, go below the number. */
  function draw(all, at, words) {
    samples = all;
    now = at;
    spanMs = SPANS_MS.find((one) => one >= at - (samples[0]?.at ?? at)) ?? WINDOW_MS;
    begin.textContent = `${spanMs / 60_000} min ago`;
    const highest = Math.max(0, ...series.flatMap(({ key }) => values(key)));
    const end = scale(highest);
    const y = (value) => HEIGHT - BOTTOM - (value / end) * (HEIGHT - TOP - BOTTOM);
    ceiling.textContent = say(end);
    series.forEach(({ key }, i) => lines[i].setAttribute("d", path(samples, key, x, y)));
    area.setAttribute("d", shape(samples, main.key, x, y));
    const last = samples.at(-1)?.[main.key];
    // A line without length, but with round ends, is a dot however the drawing is stretched.
    dot.setAttribute("d", last === undefined ? "" : `M${round(x(samples.at(-1).at))} ${round(y(last))}h0.01`);
    fill(note, words);
    show(samples.at(-1));
    drawing.setAttribute("aria-label", summary());
  }

  function show(sample) {
    const value = sample?.[main.key];
    number.textContent = value === undefined ? "–" : say(value);
  }

  function summary() {
    const said = series.map(({ key, label }) => {
      const known = values(key);
      if (!known.length) return `${label}: nothing is known yet`;
      return `${label}: now ${say(known.at(-1))}, lowest ${say(Math.min(...known))}, highest ${say(Math.max(...known))}`;
    });
    return `${title} in the last 10 minutes. ${said.join(". ")}.`;
  }

  /** Shows what was at a moment, or what is now. */
  function at(moment, words) {
    const near = moment !== null && nearest(samples, moment);
    if (!near) {
      hair.setAttribute("visibility", "hidden");
      fill(note, words);
      show(samples.at(-1));
      return;
    }
    hair.setAttribute("x1", x(near.at));
    hair.setAttribute("x2", x(near.at));
    hair.setAttribute("visibility", "visible");
    const more = others.map(({ key, label }) => near[key] !== undefined && `${say(near[key])} ${label}`);
    note.textContent = [`at ${timeOfDay(near.at)}`, ...more.filter(Boolean)].join(", ");
    show(near);
  }
  return { element, draw, at };
}

function nearest(samples, moment) {
  let found = null;
  for (const one of samples) {
    if (!found || Math.abs(one.at - moment) < Math.abs(found.at - moment)) found = one;
  }
  return found;
}

/** The stretches in which something is known, as lists of samples. */
function stretches(samples, key) {
  const found = [];
  let open = null;
  let before = null;
  for (const one of samples) {
    const known = one[key] !== undefined;
    if (!known || (before && one.at - before.at > GAP_MS)) open = null;
    if (known) {
      if (!open) found.push((open = []));
      open.push(one);
    }
    before = one;
  }
  return found;
}

const round = (n) => Math.round(n * 10) / 10;

function path(samples, key, x, y) {
  return stretches(samples, key)
    .map((stretch) => {
      const points = stretch.map((one) => `${round(x(one.at))} ${round(y(one[key]))}`);
      // A single point has no length, and with it no line.
      if (points.length === 1) points.push(`${round(x(stretch[0].at)) + 1} ${round(y(stretch[0][key]))}`);
      return `M${points.join("L")}`;
    })
    .join("");
}

function shape(samples, key, x, y) {
  const floor = HEIGHT - BOTTOM;
  return stretches(samples, key)
    .map((stretch) => {
      const points = stretch.map((one) => `L${round(x(one.at))} ${round(y(one[key]))}`).join("");
      return `M${round(x(stretch[0].at))} ${floor}${points}L${round(x(stretch.at(-1).at))} ${floor}Z`;
    })
    .join("");
}

/** The next of 4, 5, 10, 20, 50, … */
export function niceCount(highest) {
  if (highest <= 4) return 4;
  const power = 10 ** Math.floor(Math.log10(highest));
  return [1, 2, 5, 10].map((n) => n * power).find((end) => end >= highest);
}

/** The next round time, in milliseconds. */
export function niceAge(highest) {
  const seconds = [1, 5, 10, 30, 60, 300, 600, 1_800, 3_600, 10_800, 21_600, 43_200, 86_400];
  const end = seconds.find((one) => one * 1_000 >= highest);
  return end ? end * 1_000 : Math.ceil(highest / 86_400_000) * 86_400_000;
}
