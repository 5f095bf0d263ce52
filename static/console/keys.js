// API keys: who publishes and administers by program. A key is told once, when it is made.

import { get, inWords, post, remove } from "./api.js";
import { confirm, showOnce } from "./dialog.js";
import { button, el, fill, table, text, time } from "./dom.js";
import { choice, field, form, line } from "./form.js";
import { outcomeMark } from "./outcome.js";

export const keys = {
  name: "keys",
  title: "API keys",
  needs: "admin",
  why: "API keys are made and revoked by administrators.",
  async open({ body, signal }) {
    const said = el("p", { class: "said", role: "status" });
    const none = el("p", { class: "empty", hidden: true }, "There is no key. A backend that publishes takes one, instead of a token that expires.");
    const rows = table({
      caption: "API keys",
      quiet: true,
      columns: [
        { head: "Name", cell: ({ name }) => text(name) },
        { head: "Scopes", cell: ({ scopes }) => scopes.join(", ") },
        { head: "State", cell: ({ revokedAt }) => (revokedAt ? outcomeMark("revoked") : outcomeMark("on", "good")) },
        { head: "Made", cell: ({ createdAt }) => time(createdAt) },
        { head: "Revoked", cell: ({ revokedAt }) => time(revokedAt) },
        { head: "To do", cell: (key) => !key.revokedAt && button("Revoke", () => revoke(key), { kind: "danger", "aria-label": `Revoke ${key.name}` }), kind: "act" },
      ],
    });
    const name = line("key-name");
    const scope = choice("key-scopes", [["publish", "publish"], ["admin", "admin"], ["both", "publish and admin"]], "publish");
    const maker = form({
      id: "key",
      content: el("div", { class: "row" }, field(name, "Name", { hint: "Publishers are known by it." }), field(scope, "Scope")),
      actions: [el("button", { type: "submit", class: "primary" }, "Make a key")],
      async submit() {
        await maker.during("Asking the hub.", async () => {
          const scopes = scope.value === "both" ? ["publish", "admin"] : [scope.value];
          const made = await post(["keys"], { body: { name: name.value.trim(), scopes } });
          maker.outcome.textContent = `The key ${made.name} was made.`;
          name.value = "";
          await show();
          showOnce({ title: `The key ${made.name}`, words: "It is shown this once; the hub keeps only its hash.", secret: made.key });
        });
      },
    });
    async function show() {
      const { keys: all } = await get(["keys"], { signal });
      rows.clear();
      rows.add(all);
      rows.element.hidden = all.length === 0;
      none.hidden = all.length > 0;
    }
    async function revoke({ name: which }) {
      const sure = await confirm({
        title: `Revoke ${which}?`,
        words: "Whoever uses it is refused from this moment on. It cannot be taken back.",
        act: "Revoke it",
        danger: true,
      });
      if (!sure) return;
      try {
        await remove(["keys", which]);
        await show();
        said.textContent = `${which} was revoked.`;
        document.getElementById("heading").focus();
      } catch (error) {
        said.textContent = inWords(error);
      }
    }
    rows.element.hidden = true;
    fill(
      body,
      el("section", { "aria-label": "Keys" }, rows.element, none, said),
      el("section", { "aria-labelledby": "make-heading" }, el("h2", { id: "make-heading" }, "A new key"), maker.element),
    );
    await show();
  },
};
