// The inbox as any user sees it, and one's own to be read.

import { get, post } from "./api.js";
import { button, el, fill, roomLink, text, time } from "./dom.js";
import { choice, field, form, line, names, tick } from "./form.js";
import { listing } from "./listing.js";
import { parts, severityOf } from "./notice.js";
import { go, to } from "./route.js";
import { count } from "./words.js";

const LIMIT = 30;

export const inbox = {
  name: "inbox",
  title: "Inbox",
  open({ body, entitle, query, signal, user, pulse }) {
    const asked = {
      user: query.get("user") || user,
      roles: query.getAll("role"),
      unread: query.get("unread") === "true",
      severity: query.get("severity") ?? "",
      module: query.get("module") ?? "",
    };
    const own = !query.get("user");
    if (!own) entitle(`Inbox of ${asked.user}`, ["Inbox of ", text(asked.user)]);

    const search = searchForm(asked, own, pulse);
    const status = el("p", { class: "verdict", role: "status" });
    const entries = el("ol", { class: "entries" });
    const readAll = button("Mark all read", () => markAll(), { id: "read-all", hidden: true });
    let newest;

    const whose = own ? {} : { user: asked.user, role: asked.roles };
    const list = listing({
      what: "notification",
      into: {
        element: entries,
        clear: () => fill(entries),
        add: (rows) => entries.append(...rows.map((row) => entry(row, own, (event) => mark(row, event)))),
      },
      empty: el("p", {}, asked.unread || asked.severity || asked.module ? "Nothing like that is in this inbox." : "Nothing is in this inbox."),
      async load(before) {
        const answer = await get(["notifications"], {
          query: { ...whose, unread: asked.unread, severity: asked.severity, module: asked.module, before, limit: LIMIT },
          signal,
        });
        if (!before) newest = answer.notifications[0]?.eventId;
        showUnread(answer.unread);
        return { rows: answer.notifications, next: answer.nextCursor };
      },
    });

    function showUnread(unread) {
      const who = own ? "You have" : [text(asked.user), " has"];
      fill(status, who, ` ${unread === 0 ? "nothing unread" : `${count(unread)} unread`}.`);
      readAll.hidden = !own || unread === 0 || newest === undefined;
    }
    /** Marks one; the tower hears of the new count by the stream. */
    async function mark({ notificationId }, { currentTarget }) {
      const item = currentTarget.closest("li");
      await search.during("", async () => {
        await post(["notifications", notificationId, "read"]);
        markedRead(item);
        await recount();
      });
    }
    /** Up to the newest that is shown: what came since then has not been seen. */
    async function markAll() {
      await search.during("", async () => {
        await post(["notifications", "read-all"], { body: { upTo: newest } });
        search.outcome.textContent = "All that is shown here is read.";
        await list.show();
        document.getElementById("heading").focus();
      });
    }
    async function recount() {
      const { unread } = await get(["notifications"], { query: { limit: 1 }, signal });
      showUnread(unread);
    }

    fill(
      body,
      search.element,
      el(
        "div",
        {},
        status,
        own
          ? el("div", { class: "actions" }, readAll, button("Look again", () => list.show(), { kind: "quiet", id: "look-again" }))
          : el("p", { class: "aside" }, `As they see it with ${asked.roles.length ? `the roles ${asked.roles.join(", ")}` : "no role"}. Only they can mark it read. That you look is recorded.`),
      ),
      el("section", { "aria-label": "Notifications" }, list.element),
    );
    return list.begin().catch((refusal) => {
      fill(status);
      search.refuse(refusal);
    });
  },
};

function searchForm(asked, own, pulse) {
  const user = line("inbox-user", { value: own ? "" : asked.user, placeholder: "yourself" });
  const roles = names("inbox-role", { what: "Role" });
  roles.value = asked.roles;
  const unread = tick("inbox-unread", "Unread only", { checked: asked.unread });
  const severity = choice("inbox-severity", [["", "any"], "low", "medium", "high", "critical"], asked.severity);
  const module = line("inbox-module", { value: asked.module });
  return form({
    id: "inbox",
    content: [
      pulse.admin && el("div", { class: "pair" }, field(user, "As the user"), field(roles.element, "With the roles", { hint: "Enter after each." })),
      el("div", { class: "row" }, field(severity, "Severity"), field(module, "Module"), unread.element, el("button", { type: "submit", id: "inbox-button" }, "Look")),
    ],
    actions: [],
    submit() {
      const of = user.value.trim() ? { user: user.value.trim(), role: roles.value } : {};
      go(to("inbox", [], { ...of, unread: unread.box.checked, severity: severity.value, module: module.value.trim() }));
    },
  });
}

function entry(notification, own, mark) {
  const { notificationId, createdAt, read } = notification;
  const foot = el(
    "span",
    { class: "foot-actions" },
    own && !read && button("Mark read", mark, { kind: "quiet" }),
    roomLink(to("deliveries", [notificationId]), "What became of it"),
  );
  return el(
    "li",
    { class: read ? "read" : "unread", data: { id: notificationId, severity: severityOf(notification) } },
    parts(notification, {
      heading: "h2",
      time: time(createdAt),
      mark: el("span", { class: "read-mark" }, read ? "read" : "unread"),
      foot,
    }),
  );
}

/** The button goes with what it did; the link beside it takes the focus, so that it is not lost. */
function markedRead(item) {
  item.className = "read";
  item.querySelector(".read-mark").textContent = "read";
  item.querySelector("button")?.remove();
  item.querySelector(".foot-actions a")?.focus();
}
