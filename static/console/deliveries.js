// Deliveries: what became of what was sent, searched by whom it was for and how it went. One of them has a story.

import { get } from "./api.js";
import { el, fill, roomLink, table, text, time } from "./dom.js";
import { choice, field, form, line } from "./form.js";
import { listing } from "./listing.js";
import { outcomeMark } from "./outcome.js";
import { go, to } from "./route.js";
import { openStory } from "./story.js";
import { count, recipient, sentence, tail } from "./words.js";

const LIMIT = 50;
const OUTCOMES = ["pending", "processing", "sent", "failed", "expired", "cancelled"];

export const deliveries = {
  name: "deliveries",
  title: "Deliveries",
  needs: "publish",
  why: "What became of a notification is for whoever published it, and for administrators.",
  open(room) {
    if (room.segments.length) return openStory(room);
    return openSearch(room);
  },
};

function openSearch({ body, query, signal, pulse }) {
  const asked = wanted(query, pulse);
  const which = line("find-which", { placeholder: "CNC-1126-0001" });
  const finder = form({
    id: "find",
    content: el("div", { class: "inline" }, field(which, "Id or reference"), el("button", { type: "submit", class: "primary", id: "find-button" }, "Why did it not arrive?")),
    actions: [],
    submit() {
      const one = which.value.trim();
      if (one) go(to("deliveries", [one]));
      else which.focus();
    },
  });

  const whose = choice("search-whose", [["anybody", "anybody"], ["user", "a user"], ["role", "a role"]], asked.whose);
  const name = line("search-name", { value: asked.name });
  const outcome = choice("search-outcome", [["", "any outcome"], ...OUTCOMES], asked.outcome);
  const since = line("search-since", { value: asked.since, list: "search-ages", placeholder: "24h" });
  const apply = () => {
    name.disabled = whose.value === "anybody";
  };
  whose.addEventListener("change", apply);
  apply();
  const search = form({
    id: "search",
    content: el(
      "div",
      { class: "row" },
      field(whose, "For"),
      field(name, "Name"),
      field(outcome, "Outcome"),
      field(since, "Since", { hint: "How long ago, or a time." }),
      el("datalist", { id: "search-ages" }, ["1h", "24h", "7d"].map((value) => el("option", { value }))),
      el("button", { type: "submit", id: "search-button" }, "Search"),
    ),
    actions: [],
    fields: [
      [/^(user|role)$/, "search-name"],
      [/^outcome$/, "search-outcome"],
      [/^since$/, "search-since"],
    ],
    submit() {
      const of = whose.value === "anybody" ? {} : { [whose.value]: name.value.trim() };
      if (whose.value !== "anybody" && !name.value.trim()) {
        search.clear();
        search.refuse({ errors: [{ field: whose.value, message: "is missing" }] });
        return;
      }
      go(to("deliveries", [], { ...of, outcome: outcome.value, since: since.value.trim() }));
    },
  });

  const found = table({
    caption: inWords(asked),
    columns: [
      { head: "Notification", cell: ({ notificationId }) => roomLink(to("deliveries", [notificationId]), el("code", { title: notificationId }, tail(notificationId))) },
      { head: "For", cell: (row) => text(recipient(row.recipient)) },
      { head: "Outcome", cell: (row) => outcomeMark(row.outcome) },
      { head: "Tries", cell: ({ attempts }) => count(attempts), kind: "number" },
      { head: "Why", cell: ({ reason }) => text(reason), kind: "wide" },
      { head: "Published", cell: ({ createdAt }) => time(createdAt) },
      { head: "Changed", cell: ({ changedAt }) => time(changedAt) },
    ],
  });
  const list = listing({
    what: "delivery",
    many: "deliveries",
    into: found,
    empty: el("p", {}, asked.outcome === "failed" && asked.whose === "anybody" ? "Nobody has failed to take what was theirs." : "Nothing was found."),
    async load(before) {
      const of = asked.whose === "anybody" ? {} : { [asked.whose]: asked.name };
      const answer = await get(["deliveries"], { query: { ...of, outcome: asked.outcome, since: asked.since, before, limit: LIMIT }, signal });
      return { rows: answer.deliveries, next: answer.nextCursor };
    },
  });
  fill(body, finder.element, search.element, el("section", { "aria-label": "Found" }, list.element));
  if (!asked.name && !pulse.admin) {
    list.say(el("p", {}, "Say for which user or role: what others published is for administrators."));
    return undefined;
  }
  return list.begin().catch((refusal) => search.refuse(refusal));
}

/** What was searched for, and in which order it stands. */
function inWords({ whose, name, outcome }) {
  const of = whose === "anybody" ? "anybody" : `${whose} ${name}`;
  const order = whose === "anybody" ? "the latest change first" : "the latest notification first";
  return `${outcome ? sentence(outcome) : "Any outcome"}, for ${of}; ${order}`;
}

/** What the address asks for; nothing asked, an administrator sees who has failed. */
function wanted(query, pulse) {
  const user = query.get("user");
  const role = query.get("role");
  const nothing = [...query.keys()].length === 0;
  return {
    whose: user !== null ? "user" : role !== null ? "role" : nothing && !pulse.admin ? "user" : "anybody",
    name: user ?? role ?? "",
    outcome: query.get("outcome") ?? (nothing && pulse.admin ? "failed" : ""),
    since: query.get("since") ?? "",
  };
}
