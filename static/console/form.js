// Forms: a label, a control and room for what the hub says about it.
//
// Whether something is right is for the hub alone to say. A refusal that names fields is shown by those fields, what is
// left below the form, and the first field that is wrong is gone to.

import { Refusal } from "./api.js";
import { button, el, fill } from "./dom.js";

// Ids are unique in the page, since one room is open at a time and no two forms of it share a prefix.

/**
 * A control with its label, a hint if it has one, and a place for its error.
 *
 * @param {HTMLElement} control an input, select or textarea, or an element with the id of one
 * @param {string} label
 * @param {{optional?: boolean, hint?: string}} [more]
 */
export function field(control, label, { optional, hint } = {}) {
  const input = control.matches("input, select, textarea") ? control : control.querySelector("input");
  const { id } = input;
  const about = [`${id}-error`, hint && `${id}-hint`].filter(Boolean).join(" ");
  input.setAttribute("aria-describedby", about);
  return el(
    "div",
    { class: "field" },
    el(
      "div",
      { class: "label" },
      el("label", { for: id }, label, optional && el("span", { class: "optional" }, " optional")),
      el("span", { class: "field-error", id: `${id}-error` }),
    ),
    control,
    hint && el("p", { class: "hint", id: `${id}-hint` }, hint),
  );
}

/** A text of one line: a name, a key, an id. Nothing in it is corrected by the browser. */
export const line = (id, attributes = {}) =>
  el("input", { id, autocomplete: "off", autocapitalize: "off", spellcheck: "false", ...attributes });

/** One of a few. `options` are texts, or pairs of a value and its text. */
export function choice(id, options, chosen) {
  return el(
    "select",
    { id },
    options.map((option) => {
      const [value, label] = Array.isArray(option) ? option : [option, option];
      return el("option", { value, selected: value === chosen }, label);
    }),
  );
}

/** A box to tick. */
export function tick(id, label, { checked, ...on } = {}) {
  const box = el("input", { type: "checkbox", id, checked, on });
  return { box, element: el("label", { class: "tick" }, box, el("span", {}, label)) };
}

/**
 * Several names, below where they are typed. What is typed becomes one of them at Enter, and counts before that as well, so
 * that none is forgotten; not when it is left, because the page would move under a pointer that presses a button. What is
 * pasted is cut at its lines, since no name can hold one.
 */
export function names(id, { what, list }) {
  const chosen = [];
  const input = line(id, { list });
  const shown = el("ul", { class: "names", "aria-label": `${what}s chosen` });
  const element = el("div", { class: "names-field" }, input, shown);

  const take = (words = input.value) => {
    for (const name of words.split(/[\r\n]+/).map((part) => part.trim())) {
      if (name && !chosen.includes(name)) chosen.push(name);
    }
    input.value = "";
    show();
  };
  const show = () => {
    shown.hidden = chosen.length === 0;
    fill(
      shown,
      chosen.map((name) =>
        el(
          "li",
          {},
          el("bdi", {}, name),
          button("×", () => drop(name), { "aria-label": `Remove ${what.toLowerCase()} ${name}`, disabled: input.disabled }),
        ),
      ),
    );
    self.onChange?.();
  };
  const drop = (name) => {
    chosen.splice(chosen.indexOf(name), 1);
    show();
    input.focus();
  };
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.ctrlKey && !event.metaKey && input.value.trim()) {
      event.preventDefault();
      take();
    } else if (event.key === "Backspace" && !input.value && chosen.length) {
      drop(chosen.at(-1));
    }
  });
  input.addEventListener("paste", (event) => {
    const pasted = event.clipboardData?.getData("text") ?? "";
    if (!/[\r\n]/.test(pasted.trim())) return;
    event.preventDefault();
    take(`${input.value}${pasted}`);
  });
  const self = {
    element,
    input,
    take,
    /** Called after each change. */
    onChange: null,
    /** The names, with what is typed and not taken yet. */
    get value() {
      const typed = input.value.trim();
      return typed && !chosen.includes(typed) ? [...chosen, typed] : [...chosen];
    },
    set value(names) {
      chosen.splice(0, chosen.length, ...names);
      input.value = "";
      show();
    },
    set disabled(disabled) {
      input.disabled = disabled;
      show();
    },
  };
  show();
  return self;
}

/**
 * A form: its fields, its buttons, and what became of it.
 *
 * @param {{id: string, content: any, actions: any, submit: () => Promise<void>, fields?: [RegExp, string][]}} options
 *   `fields` says which control a field of the hub's is; without an entry it is the control of that name
 */
export function form({ id, content, actions, submit, fields = [] }) {
  const problem = el("p", { class: "problem", role: "alert" });
  const outcome = el("p", { class: "outcome", role: "status" });
  const element = el("form", { id, novalidate: true }, content, el("div", { class: "actions" }, actions), problem, outcome);
  let busy = false;

  const clear = () => {
    problem.textContent = "";
    for (const error of element.querySelectorAll(".field-error")) error.textContent = "";
    for (const wrong of element.querySelectorAll("[aria-invalid]")) wrong.removeAttribute("aria-invalid");
  };
  const control = (name) => {
    const [, known] = fields.find(([pattern]) => pattern.test(name)) ?? [];
    const found = element.querySelector(`#${CSS.escape(known ?? `${id}-${name}`)}`);
    return found && !found.disabled ? found : null;
  };
  /** Shows a refusal: what belongs to a field beside it, the rest below. */
  const refuse = (refusal) => {
    if (refusal.name === "AbortError") return;
    const rest = [];
    for (const { field: name = "", message = "" } of refusal.errors ?? []) {
      const wrong = control(name);
      const place = wrong && element.querySelector(`#${CSS.escape(`${wrong.id}-error`)}`);
      if (!place) {
        rest.push(`${name} ${message}`);
        continue;
      }
      const within = name.match(/[[.](.+)$/);
      place.textContent = within ? `${name}: ${message}` : message;
      wrong.setAttribute("aria-invalid", "true");
      const closed = wrong.closest("details:not([open])");
      if (closed) closed.open = true;
    }
    const shown = refusal.errors?.length > rest.length;
    const words = shown ? "The hub did not take it: see the fields that are marked." : refusal.message;
    problem.textContent = [words, ...rest.filter((one) => one !== words)].join(" ");
    if (refusal.retryAfter) problem.textContent += ` Try again in ${refusal.retryAfter} s.`;
    element.querySelector("[aria-invalid]")?.focus();
  };
  /** Does something once at a time, with `words` while it lasts. */
  const during = async (words, act) => {
    if (busy) return;
    busy = true;
    element.setAttribute("aria-busy", "true");
    clear();
    outcome.textContent = words;
    try {
      return await act();
    } catch (error) {
      outcome.textContent = "";
      if (!(error instanceof Refusal) && error.name !== "AbortError") throw error;
      refuse(error);
    } finally {
      busy = false;
      element.removeAttribute("aria-busy");
    }
  };
  element.addEventListener("submit", (event) => {
    event.preventDefault();
    submit();
  });
  return { element, problem, outcome, clear, refuse, during };
}
