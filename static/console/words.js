// Numbers, times and names in words.

const whole = new Intl.NumberFormat("en");

/** A number with its thousands apart; a dash where there is none. `"1000+"` stays as it is. */
export const count = (n) => (typeof n === "number" ? whole.format(n) : typeof n === "string" ? n : "–");

/** So many of something. */
export const many = (n, one, more = `${one}s`) => `${count(n)} ${n === 1 ? one : more}`;

/** How long, from milliseconds. */
export function span(ms) {
  if (ms < 1) return "under 1 ms";
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1_000).toFixed(ms < 10_000 ? 1 : 0)} s`;
  const minutes = Math.floor(ms / 60_000);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** How long something is, has been or has waited; whole seconds are exact enough. */
export const age = (ms) => (ms < 1_000 ? "under 1 s" : ms < 60_000 ? `${Math.round(ms / 1_000)} s` : span(ms));

/** How long ago a moment is, by this computer's clock, which may be behind the hub's. */
export const ago = (iso, now = Date.now()) => age(Math.max(0, now - Date.parse(iso)));

const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });
const dayAndYear = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });

/** A moment as one says it today: with its day if that is another, with its year if that is another. */
export function moment(iso, now = new Date()) {
  const at = new Date(iso);
  if (Number.isNaN(at.getTime())) return String(iso);
  if (at.toDateString() === now.toDateString()) return clock.format(at);
  const date = at.getFullYear() === now.getFullYear() ? day : dayAndYear;
  return `${date.format(at)}, ${clock.format(at)}`;
}

/** The time of day. */
export const timeOfDay = (ms) => clock.format(ms);

/** A recipient: `{kind: "user", id: "42"}`. */
export const recipient = ({ kind, id }) => (kind === "everyone" ? "everyone" : `${kind} ${id}`);

/** The first letter large. */
export const sentence = (words) => words.charAt(0).toUpperCase() + words.slice(1);

/** A text cut to a length that a line holds. */
export const cut = (words, length) => (words.length > length ? `${words.slice(0, length - 1)}…` : words);

/** The end of an id: of ids that were made one after the other, all that differs. */
export const tail = (id) => `…${id.slice(-12)}`;
