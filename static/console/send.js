// Send: everything that the API takes, the same as a command, and what the hub answered.
//
// The form says what it would send and the hub judges it; only what is no JSON, and so could not be sent, is refused here.

import { Refusal, address, exchange, get } from "./api.js";
import { curl } from "./curl.js";
import { button, el, fill, roomLink } from "./dom.js";
import { copyable } from "./dialog.js";
import { choice, field, form, line, names, tick } from "./form.js";
import { expects, rung } from "./rung.js";
import { to } from "./route.js";
import { span } from "./words.js";

/** Suggestions are asked for where the answer is small. */
const MAX_STREAMS_ASKED = 1_000;
const SUGGESTED = 200;

const FIELDS = [
  [/^targetRoles/, "send-roles"],
  [/^(target|audience|everyone)/, "send-users"],
  [/^idempotency-?key/i, "send-idempotencyKey"],
  [/^reference/, "send-reference"],
  [/^throttle\.window/, "send-window"],
  [/^throttle/, "send-throttle"],
];

/** Built once, so that a draft that is half written is there when one comes back; for each user anew. */
let built = null;

export const send = {
  name: "send",
  title: "Send",
  beside: true,
  open({ body, beside, signal, user, pulse }) {
    if (built?.user !== user) built = build(user, pulse);
    fill(body, built.element);
    fill(beside, built.beside);
    built.allow(pulse);
    suggest(built, signal, pulse);
  },
};

async function suggest({ suggestUsers, suggestRoles }, signal, pulse) {
  if (!pulse.admin) return;
  const { hubs } = pulse.status;
  suggestRoles(hubs.flatMap((hub) => Object.keys(hub.streams.byRole)));
  if (hubs.reduce((all, hub) => all + hub.streams.total, 0) > MAX_STREAMS_ASKED) return;
  // Without an answer nothing is suggested, and nothing else is amiss.
  const { connections } = await get(["notifications", "connections"], { signal }).catch(() => ({ connections: [] }));
  suggestUsers(connections.map(({ userId }) => userId));
}

function build(user) {
  const inputs = controls(user);
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const group = (summary, ...content) => el("details", { class: "group" }, el("summary", {}, summary), el("div", { class: "fields" }, content));
  const pair = (...content) => el("div", { class: "pair" }, content);
  const local = `By this computer’s clock (${zone}).`;
  const forbidden = el("p", { class: "notice small", id: "send-forbidden", hidden: true }, "Publishing takes the scope publish, which you have not. A test to yourself needs no scope.");
  const content = [
    forbidden,
    inputs.suggestions,
    el(
      "fieldset",
      {},
      el("legend", {}, "To"),
      pair(
        field(inputs.users.element, "Users", { hint: "Enter after each." }),
        field(inputs.roles.element, "Roles", { hint: "Whoever has one of them." }),
      ),
      inputs.everyone.element,
    ),
    pair(field(inputs.severity, "Severity"), field(inputs.title, "Title", { optional: true })),
    field(inputs.message, "Message"),
    group(
      "More about it",
      field(inputs.details, "Details"),
      pair(field(inputs.module, "Module"), field(inputs.actionType, "Action type")),
      field(inputs.link, "Link", { hint: "http, https, or relative." }),
      field(inputs.data, "Data", { hint: "Any JSON; receivers get it as it is." }),
    ),
    group(
      "When",
      pair(field(inputs.deliverAt, "Deliver at", { hint: local }), field(inputs.expiresAt, "Expires at", { hint: local })),
    ),
    group(
      "Once, and by number",
      field(inputs.idempotencyKey, "Idempotency key", { hint: "The same draft again under it gets the first answer, and nothing is made twice." }),
      pair(field(inputs.numbering, "Reference"), field(inputs.reference, "Prefix or number")),
      pair(field(inputs.throttle, "Throttle key"), field(inputs.window, "Window", { hint: "Such as 24h." })),
    ),
    group(
      "How it goes",
      field(inputs.kind, "Kind"),
      field(inputs.webhook, "Webhooks"),
      inputs.ephemeral.element,
    ),
  ];
  const sender = el("button", { type: "submit", class: "primary", id: "send-button" }, "Send");
  const tester = button("Send a test to myself", () => test(), { id: "test-button" });
  const emptier = button("Empty the form", () => empty(), { kind: "quiet", id: "empty-button" });
  const it = form({ id: "send", content, actions: [sender, tester, emptier], submit, fields: FIELDS });

  // ---- what it would send
  const command = copyable("", { id: "curl" });
  const cannot = el("p", { class: "hint" });
  const route = () => ["notifications", ...(inputs.kind.value === "broadcast" ? ["broadcast"] : [])];
  const show = () => {
    const { draft, wrong } = read(inputs);
    command.say(curl("POST", address(route()), draft));
    cannot.textContent = wrong ? `Data is left out: it is not JSON (${wrong}).` : "";
    inputs.reference.disabled = inputs.numbering.value === "";
  };
  it.element.addEventListener("input", show);
  it.element.addEventListener("change", show);
  inputs.users.onChange = inputs.roles.onChange = show;

  // ---- what came of it
  const answered = el("div", { id: "answered" }, el("p", { class: "hint" }, "Nothing was sent yet."));
  const beside = [
    el(
      "section",
      { class: "curl", "aria-labelledby": "curl-heading" },
      el("div", { class: "head" }, el("h2", { id: "curl-heading" }, "The same with curl"), command.copier),
      command,
      cannot,
      el("p", { class: "hint" }, "With a token: ", el("code", {}, "TOKEN=$(campanile token --user backend --scope publish)"), "."),
    ),
    el("section", { class: "answer", "aria-labelledby": "answer-heading" }, el("h2", { id: "answer-heading" }, "The answer"), answered),
  ];

  const deliver = (segments, body) =>
    it.during("Sending.", async () => {
      const sentAt = performance.now();
      try {
        const { status, answer } = await exchange("POST", segments, { body });
        const took = performance.now() - sentAt;
        it.outcome.textContent = `${inWords(answer)} Answered after ${span(took)}.`;
        fill(answered, el("p", {}, `${status}, after ${span(took)}. `, storyLink(answer)), json(answer));
        if (answer.notificationId && !answer.duplicate && !answer.throttled) expects(answer.notificationId, sentAt);
        return true;
      } catch (error) {
        if (!(error instanceof Refusal)) throw error;
        fill(answered, el("p", {}, error.status ? `${error.status}: ${error.message}` : error.message));
        if (error.status === 0) error.message += " It may have been sent all the same: look for it before you send it again.";
        throw error;
      }
    });
  rung.addEventListener("came", ({ detail }) => {
    if (it.outcome.textContent) it.outcome.textContent = `Here ${span(detail)} after sending.`;
  });

  async function submit() {
    inputs.users.take();
    inputs.roles.take();
    const { draft, wrong } = read(inputs);
    if (wrong) {
      it.clear();
      it.refuse(new Refusal(0, { errors: [{ field: "data", message: `is not JSON: ${wrong}` }] }));
      return;
    }
    if (!(await deliver(route(), draft))) return;
    for (const text of [inputs.title, inputs.message, inputs.details, inputs.idempotencyKey]) text.value = "";
    show();
    inputs.message.focus();
  }
  function test() {
    deliver(["notifications", "test"], {});
  }
  function empty() {
    it.element.reset();
    inputs.users.value = [];
    inputs.roles.value = [];
    inputs.apply();
    it.clear();
    it.outcome.textContent = "";
    show();
    inputs.users.input.focus();
  }
  inputs.message.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) it.element.requestSubmit();
  });
  show();
  return {
    user,
    element: it.element,
    beside,
    suggestUsers: (users) => suggestions(inputs.knownUsers, users),
    suggestRoles: (roles) => suggestions(inputs.knownRoles, roles),
    allow({ publishes }) {
      forbidden.hidden = publishes;
      sender.disabled = !publishes;
    },
  };
}

function controls(user) {
  const area = (id, rows) => el("textarea", { id, rows });
  const moment = (id) => el("input", { id, type: "datetime-local", step: "1" });
  const knownUsers = el("datalist", { id: "known-users" });
  const knownRoles = el("datalist", { id: "known-roles" });
  const inputs = {
    knownUsers,
    knownRoles,
    suggestions: [knownUsers, knownRoles],
    users: names("send-users", { what: "User", list: "known-users" }),
    roles: names("send-roles", { what: "Role", list: "known-roles" }),
    everyone: tick("send-everyone", "Everyone", { change: () => inputs.apply() }),
    severity: choice("send-severity", ["low", "medium", "high", "critical"], "medium"),
    title: el("input", { id: "send-title", autocomplete: "off" }),
    message: area("send-message", 3),
    details: area("send-details", 3),
    module: line("send-module"),
    actionType: line("send-actionType"),
    link: line("send-link", { inputmode: "url" }),
    data: area("send-data", 3),
    deliverAt: moment("send-deliverAt"),
    expiresAt: moment("send-expiresAt"),
    idempotencyKey: line("send-idempotencyKey"),
    numbering: choice("send-numbering", [["", "none"], ["draw", "draw the next of a prefix"], ["bring", "one of my own"]], ""),
    reference: line("send-reference", { disabled: true }),
    throttle: line("send-throttle"),
    window: line("send-window"),
    kind: choice(
      "send-kind",
      [
        ["notification", "notification: kept in inboxes, asked after"],
        ["broadcast", "broadcast: to open streams, kept an hour"],
      ],
      "notification",
    ),
    webhook: choice("send-webhook", [["", "as each endpoint wants"], ["undelivered", "if nobody takes it"], ["always", "always"], ["never", "never"]], ""),
    ephemeral: tick("send-ephemeral", "Ephemeral: not stored, only to streams that are live"),
    /** Everyone is everyone: names beside it would be refused. */
    apply() {
      inputs.users.disabled = inputs.roles.disabled = inputs.everyone.box.checked;
    },
  };
  inputs.users.value = [user];
  return inputs;
}

/** The draft as the form has it; `wrong` if its data is no JSON. What is empty is left out. */
function read(inputs) {
  const draft = {};
  const put = (name, value) => {
    if (value !== "" && value !== undefined) draft[name] = value;
  };
  const [users, roles] = [inputs.users.value, inputs.roles.value];
  if (inputs.everyone.box.checked) draft.everyone = true;
  else {
    if (users.length) draft.targetUserIds = users;
    if (roles.length) draft.targetRoles = roles;
  }
  put("severity", inputs.severity.value);
  put("title", inputs.title.value.trim());
  draft.message = inputs.message.value;
  put("details", inputs.details.value);
  for (const name of ["module", "actionType", "link"]) put(name, inputs[name].value.trim());
  let wrong;
  if (inputs.data.value.trim()) {
    try {
      draft.data = JSON.parse(inputs.data.value);
    } catch (error) {
      wrong = error.message;
    }
  }
  for (const name of ["deliverAt", "expiresAt"]) put(name, inUtc(inputs[name].value));
  put("idempotencyKey", inputs.idempotencyKey.value.trim());
  const reference = inputs.reference.value.trim();
  if (inputs.numbering.value === "draw") draft.reference = { prefix: reference };
  else if (inputs.numbering.value === "bring") draft.reference = reference;
  const [key, window] = [inputs.throttle.value.trim(), inputs.window.value.trim()];
  if (key || window) draft.throttle = { key, window };
  put("webhook", inputs.webhook.value);
  if (inputs.ephemeral.box.checked) draft.ephemeral = true;
  return { draft, wrong };
}

/** A local time as the hub takes it. What is none, such as a year of five digits, is for the hub to refuse. */
function inUtc(local) {
  const at = new Date(local);
  return Number.isNaN(at.getTime()) ? local : at.toISOString();
}

function suggestions(datalist, values) {
  const known = [...new Set(values)].sort().slice(0, SUGGESTED);
  fill(datalist, known.map((value) => el("option", { value })));
}

function inWords({ status, duplicate, throttled, reference }) {
  const number = reference ? ` Its reference is ${reference}.` : "";
  if (throttled) return "Held off by its throttle: this is the one before.";
  if (duplicate) return "Its key had this answer before: nothing was made now.";
  if (status === "scheduled") return `Accepted, and held back until its time.${number}`;
  if (status === "sent") return "Passed on to the streams that are live.";
  return `Accepted, and on its way.${number}`;
}

/** What is ephemeral has no story. */
function storyLink({ notificationId, status }) {
  if (!notificationId || status === "sent") return null;
  return roomLink(to("deliveries", [notificationId]), "What became of it");
}

const json = (value) => el("pre", { class: "json", tabindex: "0" }, JSON.stringify(value, null, 2));
