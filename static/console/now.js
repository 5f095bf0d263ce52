// Now: whether somebody has to come, how it went in the last ten minutes, and who is here.

import { get } from "./api.js";
import { chart, niceAge, niceCount } from "./chart.js";
import { button, el, fill, roomLink, table, text, time } from "./dom.js";
import { line } from "./form.js";
import { to } from "./route.js";
import { age, count, many, timeOfDay } from "./words.js";

/** Who is here is asked for by itself as long as the answer is small. */
const MAX_STREAMS_UNASKED = 1_000;
const HERE_MS = 10_000;
const USERS_SHOWN = 25;
const MINUTE_MS = 60_000;

export const now = {
  name: "now",
  title: "Now",
  beside: true,
  open({ body, signal, pulse }) {
    if (!pulse.admin) {
      ownOnly(body, signal, pulse);
      return;
    }
    const verdict = el("div", { class: "verdict", role: "status" });
    const figures = charts(pulse);
    const here = whoIsHere(signal, pulse);
    fill(body, verdict, figures.element, here.element);
    const show = () => {
      judge(verdict, pulse);
      figures.draw();
      here.look();
    };
    for (const event of ["status", "stale", "look"]) pulse.addEventListener(event, show, { signal });
    show();
  },
};

/** What somebody without the scope `admin` may know: their own streams. */
function ownOnly(body, signal, pulse) {
  const own = el("p", { class: "verdict" });
  fill(
    body,
    own,
    el("p", { class: "aside" }, "How the hub is, its charts and who else is here take the scope admin."),
  );
  const show = () => {
    const { streams } = pulse.status;
    own.textContent = `You have ${many(streams.own, "open stream")}. What comes to you rings here.`;
  };
  pulse.addEventListener("status", show, { signal });
  show();
}

// ---------------------------------------------------------------- the verdict

/** A wait of so long is worth a word. */
const SLOW_MS = 60_000;

/** One word for each thing that is not as it should be, the worst first; or that all is well. */
function judge(element, { status, fresh, diagnosis, overdue, endpoints }) {
  const sum = (read) => status.hubs.reduce((all, one) => all + read(one), 0);
  const failed = sum((hub) => hub.queue.failed);
  const waits = sum((hub) => hub.queue.depth + hub.queue.pending);
  const oldestMs = Math.max(...status.hubs.map((hub) => hub.queue.oldestMs));
  const alerts = diagnosis?.findings.filter(({ severity }) => severity === "alert") ?? [];
  const failing = endpoints?.filter((one) => one.failingSince && one.enabled).length ?? 0;
  const said = [
    !fresh && ["alert", "The hub does not answer; this is how it was.", null],
    status.hubs.some(({ draining }) => draining) && ["advice", "The hub is draining: it will stop in a moment.", null],
    ...alerts.map(({ says }) => ["alert", says, to("queue")]),
    waits > 0 && oldestMs > SLOW_MS && !alerts.length && ["advice", `${many(waits, "recipient")} ${waits === 1 ? "waits" : "wait"}, the first for ${age(oldestMs)}`, to("queue")],
    failed > 0 && !alerts.some(({ check }) => check === "failed") && ["advice", `${many(failed, "recipient")} ${failed === 1 ? "has" : "have"} not taken what was theirs`, to("deliveries", [], { outcome: "failed" })],
    failing > 0 && ["advice", `${many(failing, "webhook")} ${failing === 1 ? "gets" : "get"} nothing through`, to("webhooks")],
    overdue && ["advice", `${many(overdue, "reminder")} ${overdue === 1 ? "is" : "are"} overdue`, to("reminders")],
  ].filter(Boolean);
  const lines = said.length
    ? said
    : [["fine", waits ? `${many(waits, "recipient")} on the way; nothing is wrong` : "All is well. Nothing waits", null]];
  // Read out when it changes, and not with each count.
  const key = JSON.stringify(lines);
  if (element.dataset.says === key) return;
  element.dataset.says = key;
  fill(
    element,
    el(
      "ul",
      { class: "findings" },
      lines.map(([kind, words, where]) =>
        el(
          "li",
          { class: kind },
          el("span", { class: "word" }, kind === "fine" ? "ok" : kind),
          el("span", {}, sentenceOf(words), where && [" ", roomLink(where, "Look into it")]),
        ),
      ),
    ),
  );
}

const sentenceOf = (words) => `${words.charAt(0).toUpperCase()}${words.slice(1)}${words.endsWith(".") ? "" : "."}`;

// ---------------------------------------------------------------- the charts

const perSecond = (value) => (Number.isInteger(value) || value >= 10 ? count(Math.round(value)) : value.toFixed(1));

function charts(pulse) {
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
      { key: "depth", label: "in the queue" },
      { key: "owed", label: "owed" },
    ],
    say: count,
    point,
  });
  const oldest = chart({ title: "Age of the oldest that is owed", short: "Oldest owed", series: [{ key: "oldestMs", label: "age" }], say: (ms) => (ms ? age(ms) : "0 s"), scale: niceAge, point });
  const rate = chart({ title: "Deliveries a second", short: "Deliveries/s", series: [{ key: "rate", label: "deliveries a second" }], say: perSecond, scale: niceCount, point });
  const all = [
    [streams, () => many(status((hub) => hub.streams.users), "user")],
    [
      waiting,
      () => [
        el("span", { class: "swatch" }, "in the queue"),
        el("span", { class: "swatch thin" }, `${count(status((hub) => hub.queue.pending))} owed`),
      ],
    ],
    [oldest, () => (status((hub) => hub.queue.pending) ? "since it was accepted" : "nobody is owed anything")],
    [rate, () => `${count(status((hub) => hub.counts.delivered))} since the start`],
  ];
  const minutes = table({
    caption: "The last ten minutes, minute by minute",
    columns: [
      { head: "Minute from", cell: (row) => timeOfDay(row.from) },
      { head: "Streams", cell: (row) => row.streams, kind: "number" },
      { head: "In the queue", cell: (row) => row.depth, kind: "number" },
      { head: "Owed", cell: (row) => row.owed, kind: "number" },
      { head: "Oldest", cell: (row) => row.oldest, kind: "number" },
      { head: "Deliveries a second", cell: (row) => row.rate, kind: "number" },
    ],
  });
  const asTable = el("details", { class: "as-table", on: { toggle: () => draw() } }, el("summary", {}, "The same as a table"), minutes.element);
  const element = el(
    "section",
    { "aria-label": "The last ten minutes" },
    el("div", { class: "charts" }, all.map(([one]) => one.element)),
    asTable,
  );
  function draw() {
    const at = Date.now();
    all.forEach(([one, words]) => {
      one.draw(pulse.samples, at, words());
      if (pointed !== null) one.at(pointed, words());
    });
    if (!asTable.open) return;
    minutes.clear();
    minutes.add(byMinute(pulse.samples));
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
      depth: highest("depth"),
      owed: highest("owed"),
      oldest: highest("oldestMs", (ms) => (ms ? age(ms) : "–")),
      rate: rates.length ? perSecond(rates.reduce((all, one) => all + one, 0) / rates.length) : "–",
    };
  });
}

// ---------------------------------------------------------------- who is here

function whoIsHere(signal, pulse) {
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
    // What somebody is pointing at, or is in with the keyboard, is not built anew while it stays the same.
    const key = JSON.stringify([wanted, found.slice(0, USERS_SHOWN)]);
    if (users.element.dataset.says === key) return;
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
      if (error.name !== "AbortError") said.textContent = error.message;
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
