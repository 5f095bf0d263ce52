// What is asked before something that cannot be undone, and what is shown once. The browser's own dialog keeps the
// focus inside, closes at Escape and gives the focus back.

import { button, el } from "./dom.js";

function open(title, body, buttons, kind) {
  const element = el(
    "dialog",
    { class: kind, "aria-labelledby": "dialog-title" },
    el("h2", { id: "dialog-title" }, title),
    body,
    el("div", { class: "actions" }, buttons),
  );
  document.body.append(element);
  element.addEventListener("close", () => element.remove());
  element.showModal();
  return element;
}

/**
 * Asks, and resolves with whether it is to be done. The focus is on the button that does nothing.
 *
 * @param {{title: string, words: any, act: string, danger?: boolean}} question
 * @returns {Promise<boolean>}
 */
export function confirm({ title, words, act, danger = false }) {
  return new Promise((resolve) => {
    let yes = false;
    const leave = button("Leave it", () => element.close(), { autofocus: true });
    const agree = () => {
      yes = true;
      element.close();
    };
    const buttons = [leave, button(act, agree, { kind: danger ? "danger" : "primary", id: "dialog-act" })];
    const element = open(title, el("p", {}, words), buttons, "question");
    element.addEventListener("close", () => resolve(yes));
  });
}

/** Leaves undone what is being asked: whoever was asked has gone to another room. */
export function dropQuestions() {
  for (const question of document.querySelectorAll("dialog.question")) question.close();
}

/**
 * Shows what is told only this once, such as a secret; it stays until it is put away. `back` is the id of what has the
 * focus then, where what had it before is gone.
 */
export function showOnce({ title, words, secret, back }) {
  const element = open(title, [el("p", {}, words), copyable(secret, { id: "secret" })], [
    button("I have it", () => element.close(), { kind: "primary" }),
  ]);
  // A click beside it or a stray Escape would lose it for good.
  element.addEventListener("cancel", (event) => event.preventDefault());
  if (back) element.addEventListener("close", () => document.getElementById(back)?.focus());
}

/** A text to be copied: a command, a secret. Its button, `copier`, may stand elsewhere. */
export function copyable(words, { id } = {}) {
  const code = el("code", { id }, words);
  const said = el("span", { class: "unseen", role: "status" });
  const press = async () => {
    const done = await copy(code);
    copier.textContent = done ? "Copied" : "Selected";
    said.textContent = done ? "Copied." : "Selected: press Control C to copy.";
    setTimeout(() => (copier.textContent = "Copy"), 2_000);
  };
  const copier = button("Copy", press, { kind: "copy" });
  const element = el("div", { class: "copyable" }, el("pre", { tabindex: "0" }, code), copier, said);
  return Object.assign(element, { copier, say: (text) => (code.textContent = text) });
}

/** Copies; where the browser forbids it, as on a page without TLS, selects. */
async function copy(element) {
  try {
    await navigator.clipboard.writeText(element.textContent);
    return true;
  } catch {
    getSelection().selectAllChildren(element);
    try {
      return document.execCommand("copy");
    } catch {
      return false;
    }
  }
}
