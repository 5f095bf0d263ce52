// Duplicates: requests under an idempotency key that had an answer already, and so made nothing.

import { get } from "./api.js";
import { el, fill, roomLink, table, text, time } from "./dom.js";
import { field, form, line } from "./form.js";
import { listing } from "./listing.js";
import { outcomeMark } from "./outcome.js";
import { go, to } from "./route.js";
import { tail } from "./words.js";

const LIMIT = 50;
const FILTERS = ["key", "publisher", "since", "until"];

export const duplicates = {
  name: "duplicates",
  title: "Duplicates",
  needs: "admin",
  why: "The record of requests that came twice is for administrators.",
  open({ body, query, signal }) {
    const asked = Object.fromEntries(FILTERS.map((name) => [name, query.get(name) ?? ""]));
    const inputs = Object.fromEntries(FILTERS.map((name) => [name, line(`duplicates-${name}`, { value: asked[name] })]));
    inputs.publisher.placeholder = "key:billing";
    inputs.since.placeholder = "24h";
    const search = form({
      id: "duplicates",
      content: el(
        "div",
        { class: "row" },
        field(inputs.key, "Key"),
        field(inputs.publisher, "Publisher"),
        field(inputs.since, "Since", { hint: "How long ago, or a time." }),
        field(inputs.until, "Until"),
        el("button", { type: "submit", id: "duplicates-button" }, "Search"),
      ),
      actions: [],
      submit: () => go(to("duplicates", [], Object.fromEntries(FILTERS.map((name) => [name, inputs[name].value.trim()])))),
    });
    const list = listing({
      what: "duplicate",
      into: table({
        caption: "Duplicates caught",
        quiet: true,
        columns: [
          { head: "At", cell: ({ at }) => time(at) },
          { head: "Key", cell: ({ key }) => text(key) },
          { head: "Publisher", cell: ({ publisher }) => text(publisher) },
          { head: "Outcome", cell: ({ outcome }) => outcomeMark(outcome) },
          { head: "What that means", cell: ({ outcome }) => (outcome === "answered" ? "the same draft: it got the first answer" : "another draft: it was refused"), kind: "wide" },
          { head: "Notification", cell: ({ notificationId }) => roomLink(to("deliveries", [notificationId]), el("code", { title: notificationId }, tail(notificationId))) },
        ],
      }),
      empty: el("p", {}, "Nothing came twice. Publishers that send an idempotency key are safe to repeat."),
      async load(before) {
        const answer = await get(["audit", "duplicates"], { query: { ...asked, before, limit: LIMIT }, signal });
        return { rows: answer.duplicates, next: answer.nextCursor };
      },
    });
    fill(body, search.element, el("section", { "aria-label": "Found" }, list.element));
    return list.begin().catch((refusal) => search.refuse(refusal));
  },
};
