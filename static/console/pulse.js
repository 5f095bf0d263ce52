// How the hub is, asked every two seconds, and how it was in the last ten minutes, for as long as this page is open.
//
// A page that nobody looks at asks more rarely, and one that gets no answer ever more rarely. What costs the hub more than
// a glance (its diagnosis, what is overdue, which webhooks fail) is asked for once a minute, and only by administrators.

import { get } from "./api.js";

const POLL_MS = 2_000;
const HIDDEN_MS = 30_000;
const MAX_MS = 30_000;
const LOOK_MS = 60_000;
/** When the slow questions are asked again that got no answer. */
const LOOK_AGAIN_MS = 10_000;
/** How far back the charts go. */
export const WINDOW_MS = 600_000;
/** The most overdue reminders that are counted. */
const MAX_OVERDUE = 20;

/**
 * The pulse: `status` after each answer, `stale` when one is missing, `look` after the slow questions.
 */
class Pulse extends EventTarget {
  /** The answer of `/notifications/status`, null before the first. */
  status = null;
  /** Whether the last question was answered. */
  fresh = false;
  /** Oldest first; one without `streams` stands for a question that was not answered. */
  samples = [];
  /** Of the slow questions; null before the first, and for whoever may not ask. */
  diagnosis = null;
  overdue = null;
  endpoints = null;

  #timer;
  #asking = false;
  #running = false;
  #delayMs = POLL_MS;
  #lookedAt = -Infinity;
  /** Whose answers count: what was asked for somebody else is passed over when it comes. */
  #turn = 0;

  constructor() {
    super();
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden && this.#running) this.#ask();
    });
  }

  get admin() {
    return Boolean(this.status?.hubs);
  }

  /** Whether whoever is signed in may publish. */
  get publishes() {
    return this.admin || Boolean(this.status?.scopes?.includes("publish"));
  }

  /** Asks at once, and then again and again. */
  start() {
    this.#running = true;
    this.#delayMs = POLL_MS;
    this.#ask();
  }

  stop() {
    this.#running = false;
    clearTimeout(this.#timer);
  }

  /** Forgets everything: somebody else is signed in. */
  forget() {
    this.status = this.diagnosis = this.overdue = this.endpoints = null;
    this.samples = [];
    this.#lookedAt = -Infinity;
    this.#turn += 1;
    this.#asking = false;
  }

  /** Asks the slow questions now: something was changed. */
  look() {
    this.#lookedAt = -Infinity;
    if (this.#running) this.#ask();
  }

  async #ask() {
    clearTimeout(this.#timer);
    if (this.#asking) return;
    this.#asking = true;
    const turn = this.#turn;
    try {
      const status = await get(["notifications", "status"]);
      if (turn !== this.#turn) return;
      this.status = status;
      this.fresh = true;
      this.#delayMs = POLL_MS;
      if (this.admin) this.#keep(sample(this.status.hubs, Date.now(), this.samples.at(-1)));
      this.dispatchEvent(new Event("status"));
      if (this.admin && !document.hidden && performance.now() - this.#lookedAt > LOOK_MS) await this.#look(turn);
    } catch {
      if (turn !== this.#turn) return;
      this.fresh = false;
      this.#delayMs = Math.min(this.#delayMs * 2, MAX_MS);
      this.#keep({ at: Date.now() });
      this.dispatchEvent(new Event("stale"));
    } finally {
      if (turn === this.#turn) {
        this.#asking = false;
        const delayMs = document.hidden ? Math.max(HIDDEN_MS, this.#delayMs) : this.#delayMs;
        if (this.#running) this.#timer = setTimeout(() => this.#ask(), delayMs);
      }
    }
  }

  async #look(turn) {
    this.#lookedAt = performance.now();
    const [diagnosis, overdue, endpoints] = await Promise.allSettled([
      get(["queue", "diagnosis"]),
      get(["reminders"], { query: { overdue: true, limit: MAX_OVERDUE } }),
      get(["webhooks"]),
    ]);
    if (turn !== this.#turn) return;
    if ([diagnosis, overdue, endpoints].some(({ status }) => status === "rejected")) {
      this.#lookedAt = performance.now() - LOOK_MS + LOOK_AGAIN_MS;
    }
    this.diagnosis = diagnosis.value ?? null;
    const late = overdue.value?.reminders.length;
    this.overdue = late === MAX_OVERDUE ? `${MAX_OVERDUE}+` : (late ?? null);
    this.endpoints = endpoints.value?.endpoints ?? null;
    this.dispatchEvent(new Event("look"));
  }

  #keep(one) {
    this.samples.push(one);
    while (this.samples[0].at < one.at - WINDOW_MS) this.samples.shift();
  }
}

/** Numbers of all hubs together at one moment; how many were delivered in a second needs the one before. */
function sample(hubs, at, before) {
  const sum = (read) => hubs.reduce((all, one) => all + read(one), 0);
  const delivered = sum((hub) => hub.counts.delivered);
  const seconds = (at - before?.at) / 1_000;
  // Fewer than before: a hub has begun anew.
  const known = before?.delivered !== undefined && delivered >= before.delivered && seconds > 0;
  return {
    at,
    streams: sum((hub) => hub.streams.total),
    waits: sum((hub) => hub.queue.depth + hub.queue.pending),
    depth: sum((hub) => hub.queue.depth),
    oldestMs: Math.max(0, ...hubs.map((hub) => hub.queue.oldestMs)),
    delivered,
    rate: known ? (delivered - before.delivered) / seconds : undefined,
  };
}

export const pulse = new Pulse();
