// Prints each event that npm's eventsource receives as a line of JSON. Usage: receive_eventsource.mjs URL, token in
// TOKEN.
//
// A browser's EventSource cannot send headers; this one takes a fetch of one's own for that. It hears named events
// only under their names, so those that the test asks about are listed.

import { createRequire } from "node:module";

// The npm packages of all tests are installed in one place.
const require = createRequire(new URL("../browser/package.json", import.meta.url));
const { EventSource } = require("eventsource");

const authorization = `Bearer ${process.env.TOKEN}`;
const source = new EventSource(process.argv[2], {
  fetch: (url, init) => fetch(url, { ...init, headers: { ...init.headers, authorization } }),
});
for (const name of ["connected", "notification", "gap", "bye"]) {
  source.addEventListener(name, (event) => {
    process.stdout.write(`${JSON.stringify({ event: name, id: event.lastEventId, data: event.data })}\n`);
  });
}
source.addEventListener("error", (error) => {
  process.stderr.write(`${error.code ?? ""} ${error.message ?? "the connection was lost"}\n`);
  // It would come back by itself; but here nothing may end the stream, and a second one would hide that.
  process.exit(1);
});
