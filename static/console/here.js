// Who is here: streams by role and by user.

import { get, inWords } from "./api.js";
import { button, el, roomLink, table, text, time } from "./dom.js";
import { line } from "./form.js";
import { to } from "./route.js";
import { count, many } from "./words.js";

/** Who is here is asked for by itself as long as the answer is small. */
const MAX_STREAMS_UNASKED = 1_000;
const HERE_MS = 10_000;
const USERS_SHOWN = 25;

/** Its `look` shows what is known, and asks when that is due. */
export function whoIsHere(signal, pulse) {
  const roles = table({
    caption: "Streams by role",
    columns: [
      { head: "Role", cell: ({ role }) => text(role) },
      { head: "Streams", cell: ({ n, most }) => bar(n, most), kind: "gauge" },
    ],
  });
  const users = table({
    caption: "Streams by user",
    columns: [
      { head: "User", cell: ({ user }) => roomLink(to("inbox", [], { user }), text(user)) },
      { head: "Streams", cell: ({ streams }) => count(streams.length), kind: "number" },
      { head: "Roles", cell: ({ roles: names }) => text(names.join(", ")) },
      { head: "Since", cell: ({ since }) => time(since) },
      { head: "To do", cell: ({ user }) => roomLink(to("deliveries", [], { user }), "What they got"), kind: "act" },
    ],
  });
  const filter = line("here-filter", { type: "search", on: { input: () => showUsers() } });
  const said = el("p", { class: "said", role: "status" });
  const askAnyway = button("List who is here", () => look(true), { hidden: true });
  const element = el(
    "section",
    { class: "here", "aria-labelledby": "here-heading" },
    el("h2", { id: "here-heading" }, "Who is here"),
    roles.element,
    el("div", { class: "field short" }, el("div", { class: "label" }, el("label", { for: "here-filter" }, "Find a user or a role")), filter),
    users.element,
    el("div", { class: "actions" }, askAnyway, said),
  );

  let everyone = [];
  let asked = -Infinity;
  let asking = false;

  function showRoles() {
    const counts = new Map();
    for (const hub of pulse.status.hubs) {
      for (const [role, n] of Object.entries(hub.streams.byRole)) counts.set(role, (counts.get(role) ?? 0) + n);
    }
    const sorted = [...counts].sort(([a, n], [b, m]) => m - n || a.localeCompare(b)).slice(0, USERS_SHOWN);
    const most = Math.max(1, ...sorted.map(([, n]) => n));
    roles.element.hidden = sorted.length === 0;
    const key = JSON.stringify(sorted);
    if (roles.element.dataset.says === key) return;
    roles.element.dataset.says = key;
    roles.clear();
    roles.add(sorted.map(([role, n]) => ({ role, n, most })));
  }

  function showUsers() {
    const wanted = filter.value.trim().toLowerCase();
    const fits = ({ user, roles: names }) => [user, ...names].some((one) => one.toLowerCase().includes(wanted));
    const found = everyone.filter(fits);
    // What somebody is in with the keyboard is not built anew below their hands.
    const key = JSON.stringify([wanted, found.slice(0, USERS_SHOWN)]);
    if (users.element.dataset.says === key || users.element.contains(document.activeElement)) return;
    users.element.dataset.says = key;
    users.clear();
    users.add(found.slice(0, USERS_SHOWN));
    users.element.hidden = found.length === 0;
    const more = found.length > USERS_SHOWN;
    said.textContent = more ? `The first ${USERS_SHOWN} of ${many(found.length, "user")}; find the others by name.` : wanted ? `${many(found.length, "user")} found.` : "";
  }

  async function look(anyway = false) {
    showRoles();
    const total = pulse.status.hubs.reduce((all, hub) => all + hub.streams.total, 0);
    const tooMany = total > MAX_STREAMS_UNASKED;
    askAnyway.hidden = !tooMany;
    const due = performance.now() - asked > HERE_MS;
    if (asking || (!anyway && (tooMany || !due || !pulse.fresh))) return;
    asking = true;
    try {
      const { connections } = await get(["notifications", "connections"], { signal });
      everyone = byUser(connections);
      asked = performance.now();
      showUsers();
    } catch (error) {
      if (!signal.aborted) said.textContent = inWords(error);
    } finally {
      asking = false;
    }
  }
  return { element, look };
}

/** A number with a bar as long as it is large beside others. */
function bar(n, most) {
  const length = el("span", { class: "bar", "aria-hidden": "true" });
  length.style.width = `${(n / most) * 100}%`;
  return el("span", { class: "measure" }, el("span", {}, count(n)), el("span", { class: "track" }, length));
}

function byUser(connections) {
  const users = new Map();
  for (const { userId, roles, since } of connections) {
    const one = users.get(userId) ?? { user: userId, streams: [], roles: [], since };
    one.streams.push(since);
    one.roles = [...new Set([...one.roles, ...roles])].sort();
    if (since < one.since) one.since = since;
    users.set(userId, one);
  }
  return [...users.values()].sort((a, b) => b.streams.length - a.streams.length || a.user.localeCompare(b.user));
}
