// Webhooks: the endpoints, what each wants, and whether it gets it. `endpoint.js` has one of them.

import { get, post } from "./api.js";
import { showOnce } from "./dialog.js";
import { el, fill, roomLink, table, text, time } from "./dom.js";
import { openEndpoint } from "./endpoint.js";
import { endpointFields, filters, state } from "./endpoint-fields.js";
import { form } from "./form.js";
import { to } from "./route.js";

export const webhooks = {
  name: "webhooks",
  title: "Webhooks",
  needs: "admin",
  why: "Where webhooks go is for administrators to say.",
  open(room) {
    return room.segments.length ? openEndpoint(room) : openAll(room);
  },
};

async function openAll({ body, signal, pulse }) {
  const none = el("p", { class: "empty", hidden: true }, "There is no endpoint: nobody is told of what nobody took.");
  const rows = table({
    caption: "Endpoints",
    quiet: true,
    columns: [
      { head: "Address", cell: ({ id, url }) => roomLink(to("webhooks", [id]), text(url)), kind: "wide" },
      { head: "State", cell: state },
      { head: "Is told of", cell: ({ on }) => (on === "always" ? "everything" : "what nobody took") },
      { head: "If it is", cell: (row) => text(filters(row)) },
      { head: "Made", cell: ({ createdAt }) => time(createdAt) },
    ],
  });
  const wanted = endpointFields("endpoint");
  const maker = form({
    id: "endpoint",
    content: wanted.content,
    actions: [el("button", { type: "submit", class: "primary", id: "endpoint-add" }, "Add the endpoint")],
    fields: [[/^severities/, "endpoint-severities-low"], [/^roles/, "endpoint-roles"], [/^modules/, "endpoint-modules"]],
    async submit() {
      await maker.during("Asking the hub.", async () => {
        const made = await post(["webhooks"], { body: wanted.value });
        maker.outcome.textContent = "It was added.";
        wanted.value = {};
        pulse.look();
        await show();
        showOnce({
          title: "The secret of the endpoint",
          words: "It signs what is sent there. It is shown this once; it can be replaced, and not shown again.",
          secret: made.secret,
        });
      });
    },
  });
  async function show() {
    const { endpoints } = await get(["webhooks"], { signal });
    rows.clear();
    rows.add(endpoints);
    rows.element.hidden = endpoints.length === 0;
    none.hidden = endpoints.length > 0;
  }
  rows.element.hidden = true;
  fill(
    body,
    el("section", { "aria-label": "Endpoints" }, rows.element, none),
    el("section", { "aria-labelledby": "add-heading" }, el("h2", { id: "add-heading" }, "A new endpoint"), maker.element),
  );
  await show();
}
