// How something went, as a mark: a word, a form and a colour, so that the colour is never all that tells.

import { el } from "./dom.js";

const FORMS = {
  sent: ["✓", "good"],
  answered: ["✓", "good"],
  pending: ["…", "open"],
  waiting: ["…", "open"],
  processing: ["…", "open"],
  sending: ["…", "open"],
  scheduled: ["◷", "open"],
  failed: ["✕", "bad"],
  refused: ["✕", "bad"],
  expired: ["–", "over"],
  cancelled: ["–", "over"],
  revoked: ["–", "over"],
  off: ["–", "over"],
  on: ["✓", "good"],
  failing: ["!", "bad"],
};

/** A mark for an outcome, or for the status of a notification, a webhook or an endpoint. */
export function outcomeMark(outcome, words = outcome) {
  const [form, kind] = FORMS[outcome] ?? ["", "over"];
  return el("span", { class: `mark ${kind}` }, el("span", { class: "form", "aria-hidden": "true" }, form), words);
}
