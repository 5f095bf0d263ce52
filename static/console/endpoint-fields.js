// What an endpoint of webhooks is told, as words and as fields of a form.

import { el, time } from "./dom.js";
import { choice, field, line, names, tick } from "./form.js";
import { outcomeMark } from "./outcome.js";

const SEVERITIES = ["low", "medium", "high", "critical"];

/** How an endpoint stands, as a mark. */
export function state({ enabled, disabledBy, failingSince }) {
  if (!enabled) {
    const by = { admin: "by an administrator", gone: "by its own 410", failing: "nothing came through" }[disabledBy];
    return outcomeMark("off", by ? `off, ${by}` : "off");
  }
  if (failingSince) return [outcomeMark("failing"), " since ", time(failingSince)];
  return outcomeMark("on");
}

/** What it lets through, in words. */
export function filters({ roles, modules, severities }) {
  const said = [
    roles.length && `for ${roles.join(", ")}`,
    modules.length && `from ${modules.join(", ")}`,
    severities.length && severities.join(" or "),
  ].filter(Boolean);
  return said.join("; ") || "anything";
}

/** The fields of an endpoint, empty or as one has them. */
export function endpointFields(id) {
  const url = line(`${id}-url`, { inputmode: "url", placeholder: "https://hooks.example/campanile" });
  const on = choice(`${id}-on`, [["undelivered", "what nobody took"], ["always", "everything"]], "undelivered");
  const roles = names(`${id}-roles`, { what: "Role" });
  const modules = names(`${id}-modules`, { what: "Module" });
  const severities = SEVERITIES.map((name) => tick(`${id}-severities-${name}`, name));
  return {
    content: [
      field(url, "Address"),
      field(on, "Is told of"),
      el(
        "div",
        { class: "pair" },
        field(roles.element, "Only for the roles", { hint: "None: for anybody." }),
        field(modules.element, "Only from the modules", { hint: "None: from any." }),
      ),
      el("fieldset", { class: "ticks" }, el("legend", {}, "Only of the severities"), severities.map(({ element }) => element), el("span", { class: "field-error", id: `${id}-severities-low-error` })),
    ],
    get value() {
      return {
        url: url.value.trim(),
        on: on.value,
        roles: roles.value,
        modules: modules.value,
        severities: SEVERITIES.filter((_, i) => severities[i].box.checked),
      };
    },
    set value(endpoint) {
      url.value = endpoint.url ?? "";
      on.value = endpoint.on ?? "undelivered";
      roles.value = endpoint.roles ?? [];
      modules.value = endpoint.modules ?? [];
      severities.forEach(({ box }, i) => (box.checked = (endpoint.severities ?? []).includes(SEVERITIES[i])));
    },
  };
}
