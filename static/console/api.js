// Asking the hub.
//
// Addresses are relative to the page, so that a hub mounted under a path of another application works too. Whatever is
// not a success is a Refusal, also a hub that does not answer: who calls shows it or lets it pass, and has one thing to
// catch.

import { sentence } from "./words.js";

/** How long an answer may take, unless a call says otherwise. */
const ANSWER_MS = 15_000;

/** Tells of what concerns the whole page: `signed-out`. */
export const session = new EventTarget();

/** What the hub refused, as its problem document (RFC 9457) says it; or that it did not answer (`status` 0). */
export class Refusal extends Error {
  constructor(status, { title, detail, errors, retryAfter } = {}) {
    super(detail ?? title ?? `The hub answered ${status}.`);
    this.status = status;
    this.title = title;
    this.errors = Array.isArray(errors) ? errors : [];
    this.retryAfter = retryAfter;
  }
}

/** A refusal, to be shown; anything else is a fault of this page, and no words for anybody. */
export function inWords(error) {
  if (!(error instanceof Refusal)) throw error;
  return sentence(error.message);
}

/** The address of a route: its segments, and what stands behind the `?`; a list stands there once for each. */
export function address(segments, query = {}) {
  const url = new URL(segments.map(encodeURIComponent).join("/"), document.baseURI);
  for (const [name, value] of Object.entries(query)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== undefined && one !== null && one !== "" && one !== false) url.searchParams.append(name, one);
    }
  }
  return url;
}

/**
 * Calls a route and gives its status and the JSON of its answer.
 *
 * @param {string} method
 * @param {string[]} segments of the path
 * @param {{query?: object, body?: any, signal?: AbortSignal, limitMs?: number}} [options]
 */
export async function exchange(method, segments, { query, body, signal, limitMs = ANSWER_MS } = {}) {
  const late = AbortSignal.timeout(limitMs);
  const headers = { accept: "application/json" };
  if (body !== undefined) headers["content-type"] = "application/json";
  let response, answer;
  try {
    response = await fetch(address(segments, query), {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      cache: "no-store",
      signal: signal ? AbortSignal.any([signal, late]) : late,
    });
    const words = await response.text();
    answer = words && readable(words);
  } catch (error) {
    if (signal?.aborted) throw error;
    const says = late.aborted ? "The hub did not answer in time." : "The hub cannot be reached.";
    throw new Refusal(0, { title: says });
  }
  const { status } = response;
  if (response.ok) return { status, answer: answer || null };
  if (status === 401) session.dispatchEvent(new Event("signed-out"));
  throw new Refusal(status, { ...answer, retryAfter: response.headers.get("retry-after") });
}

/** A proxy's apology is no JSON. */
function readable(words) {
  try {
    return JSON.parse(words);
  } catch {
    return {};
  }
}

/** What a route answers. */
export const get = async (segments, options) => (await exchange("GET", segments, options)).answer;
export const post = async (segments, options) => (await exchange("POST", segments, options)).answer;
export const patch = async (segments, options) => (await exchange("PATCH", segments, options)).answer;
export const remove = async (segments, options) => (await exchange("DELETE", segments, options)).answer;
