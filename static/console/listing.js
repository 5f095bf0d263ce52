// A list that goes on: its first page, a button for the next, and a word for when there is nothing.

import { Refusal } from "./api.js";
import { button, el, fill } from "./dom.js";
import { many } from "./words.js";

/** Pages that may be empty one after the other, where much was passed over, before somebody is asked to go on. */
const EMPTY_PAGES = 20;

/**
 * @template Row
 * @param {object} options
 * @param {(cursor: string|undefined) => Promise<{rows: Row[], next?: string|null}>} options.load
 * @param {{element: HTMLElement, add: (rows: Row[]) => void, clear: () => void}} options.into a table, or a list
 * @param {any} options.empty what is said where there is nothing
 * @param {string} [options.what] what one row is, for the count, and `options.many` what several are
 */
export function listing({ load, into, empty, what = "row", many: several }) {
  let next;
  let shown = 0;
  let turn = 0;
  const said = el("p", { class: "said", role: "status" });
  const more = button("Show more", () => quietly(go(false)), { hidden: true });
  // Where the focus goes when the last page has come and its button with it.
  into.element.setAttribute("tabindex", "-1");
  const nothing = el("div", { class: "empty", hidden: true }, empty);
  const element = el("div", { class: "listing" }, into.element, nothing, el("div", { class: "actions" }, more, said));

  async function go(anew, tell = true) {
    const mine = ++turn;
    said.textContent = anew ? "Asking the hub." : "";
    said.classList.remove("problem");
    try {
      let page;
      let cursor = anew ? undefined : next;
      for (let pages = 0; pages < EMPTY_PAGES; pages += 1) {
        page = await load(cursor);
        if (mine !== turn) return;
        cursor = page.next ?? undefined;
        if (page.rows.length || cursor === undefined) break;
      }
      if (anew) {
        into.clear();
        shown = 0;
      }
      into.add(page.rows);
      shown += page.rows.length;
      next = cursor;
      said.textContent = shown ? `${many(shown, what, several)}${next === undefined ? "." : ", and there are more."}` : "";
      if (!shown && next !== undefined) said.textContent = "Nothing so far; there is more to look through.";
      said.classList.remove("problem");
      // A list that is whole shows how long it is; its number is for those who do not see it.
      said.classList.toggle("unseen", shown > 0 && next === undefined);
    } catch (error) {
      if (mine !== turn || error.name === "AbortError") return;
      if (anew) {
        into.clear();
        shown = 0;
        next = undefined;
      }
      said.textContent = tell ? error.message : "";
      said.classList.remove("unseen");
      said.classList.add("problem");
      nothing.hidden = true;
      into.element.hidden = shown === 0;
      throw error;
    }
    if (next === undefined && document.activeElement === more) into.element.focus();
    more.hidden = next === undefined;
    nothing.hidden = shown > 0 || next !== undefined;
    into.element.hidden = shown === 0;
  }
  into.element.hidden = true;
  return {
    element,
    /** Asks for the first page. A refusal is thrown, for a form to show it by its fields. */
    begin: () => go(true, false),
    /** Asks for the first page anew, and shows a refusal itself. */
    show: () => quietly(go(true)),
    say: (...words) => fill(nothing, ...words),
  };
}

/** A refusal has been shown; anything else is a fault of this page. */
function quietly(promise) {
  return promise.catch((error) => {
    if (!(error instanceof Refusal)) throw error;
  });
}
