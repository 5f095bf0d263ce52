// Building the page: elements, links, tables.
//
// What the console shows was mostly written by strangers. Here a text becomes a text node and nothing else, an
// attribute can hold no code, and a link goes to http, https or a room of this page; the other modules build with
// these functions only, so that none of them has to think of it.

import { moment } from "./words.js";

const SVG = "http://www.w3.org/2000/svg";

/**
 * An element.
 *
 * @param {string} tag
 * @param {object} [attributes] `on` holds listeners, `data` the data attributes; null, undefined and false are left out
 * @param {...(Node|string|number|null|undefined|false|Array)} children strings become text
 */
export function el(tag, attributes = {}, ...children) {
  return build(document.createElement(tag), attributes, children);
}

/** The same, in a drawing. */
export function svg(tag, attributes = {}, ...children) {
  return build(document.createElementNS(SVG, tag), attributes, children);
}

function build(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") {
      for (const [type, listener] of Object.entries(value)) element.addEventListener(type, listener);
    } else if (name === "data") {
      for (const [key, text] of Object.entries(value)) if (text !== undefined) element.dataset[key] = text;
    } else if (name === "href") {
      const target = String(value).startsWith("#/") ? value : safe(value);
      if (target) element.setAttribute("href", target);
    } else if (/^(on|src|style$|xlink)/i.test(name)) {
      throw new TypeError(`${name} is no attribute for this page`);
    } else {
      element.setAttribute(name, value === true ? "" : value);
    }
  }
  element.append(...nodes(children));
  return element;
}

function nodes(children) {
  const given = children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);
  return given.map((child) => (child instanceof Node ? child : String(child)));
}

/** Puts these in, and what was there out. */
export function fill(element, ...children) {
  element.replaceChildren(...nodes(children));
  return element;
}

/** Where a stranger's link leads; null unless that is http or https. */
export function safe(link) {
  if (typeof link !== "string" || !URL.canParse(link, document.baseURI)) return null;
  const { protocol, href } = new URL(link, document.baseURI);
  return protocol === "https:" || protocol === "http:" ? href : null;
}

/** A link within the page. */
export const roomLink = (href, ...children) => el("a", { href }, ...children);

/** A link that a notification brought: as its text if it leads nowhere that is safe. */
export function strangersLink(link, attributes = {}) {
  const href = safe(link);
  if (!href) return el("span", { ...attributes }, link);
  return el("a", { ...attributes, href, target: "_blank", rel: "noopener noreferrer" }, link);
}

/** A moment: short and local to read, whole and in UTC to hover over and to copy. */
export function time(iso) {
  if (!iso) return null;
  return el("time", { datetime: iso, title: iso }, moment(iso));
}

/** Somebody else's text, which may run from right to left. */
export const text = (words) => el("bdi", {}, words);

/** A button. `kind` is `primary`, `danger`, `quiet` or none. */
export function button(label, press, { kind, ...attributes } = {}) {
  return el("button", { type: "button", class: kind, ...attributes, on: { click: press } }, label);
}

/**
 * A table with a caption and headers. The roles stand there because a phone shows its rows one below the other, and a
 * browser takes such a table for none.
 *
 * @param {{caption: string, quiet?: boolean, columns: {head: string, cell: (row: object) => any, kind?: string}[]}} options
 *   the first column names its row; a quiet caption is read out only, where a heading above says the same
 */
export function table({ caption, quiet = false, columns }) {
  // A column of buttons is named for those who do not see them.
  const named = ({ head, kind }) => (kind === "act" ? el("span", { class: "unseen" }, head) : head);
  const heads = columns.map((one) => el("th", { scope: "col", role: "columnheader", class: one.kind }, named(one)));
  const body = el("tbody", { role: "rowgroup" });
  const element = el(
    "table",
    { role: "table" },
    el("caption", { class: quiet && "unseen" }, caption),
    el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, heads)),
    body,
  );
  const cells = (row) =>
    columns.map(({ head, cell, kind }, i) => {
      const inside = el("div", {}, cell(row) ?? "–");
      if (i === 0) return el("th", { scope: "row", role: "rowheader", class: kind, data: { label: head } }, inside);
      return el("td", { role: "cell", class: kind, data: { label: head } }, inside);
    });
  const add = (rows) => body.append(...rows.map((row) => el("tr", { role: "row" }, cells(row))));
  return { element, add, clear: () => body.replaceChildren() };
}

/** Facts: names and values; those without a value are left out. */
export function facts(pairs) {
  const known = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "" && value !== false);
  return el(
    "dl",
    { class: "facts" },
    known.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))),
  );
}
