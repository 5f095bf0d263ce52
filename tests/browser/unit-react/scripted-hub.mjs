// A hub that says what the test says, and counts what it is asked: streams, inbox and marks over real HTTP.

import { once } from "node:events";
import { createServer } from "node:http";

const hubs = [];

/** Closes all hubs once nobody is connected any more: what is left behind ends within a moment. */
export async function closeAll(until) {
  await until(() => {
    if (hubs.some(({ open }) => open.length > 0)) throw new Error("somebody is still connected");
  });
  for (const hub of hubs.splice(0)) await hub.close();
}

export class ScriptedHub {
  /** Every answer to a request for the stream, ended ones too. */
  streams = [];
  /** The method, path and body of every other request. */
  asked = [];
  /** What the inbox says, or the status that it answers; or a promise of either. */
  inbox = { notifications: [], unread: 0, nextCursor: null };
  /** How marks are answered: with a status, or a promise of one. */
  mark = () => 204;
  userId = "42";
  #server;

  static async start() {
    const hub = new ScriptedHub();
    hub.#server = createServer((request, response) => hub.#answer(request, response));
    hub.#server.listen(0, "127.0.0.1");
    await once(hub.#server, "listening");
    hubs.push(hub);
    hub.url = `http://127.0.0.1:${hub.#server.address().port}/notifications/stream`;
    return hub;
  }

  async close() {
    this.#server.close();
    this.#server.closeAllConnections();
    await once(this.#server, "close");
  }

  /** The streams that have not ended. */
  get open() {
    return this.streams.filter((stream) => !stream.destroyed);
  }

  /** How often it was asked that, as in "GET /notifications". */
  count(what) {
    return this.asked.filter(({ method, path }) => `${method} ${path}` === what).length;
  }

  /** An event to all open streams. */
  send(type, data = {}, { id, ...rest } = {}) {
    const message = JSON.stringify({ type, timestamp: Date.now(), ...rest, data });
    for (const stream of this.open) stream.write(`${id ? `id: ${id}\n` : ""}event: ${type}\ndata: ${message}\n\n`);
  }

  /** A notification, with the place `n`; without a place if it is ephemeral. */
  notify(n, { ephemeral = false, ...more } = {}) {
    const data = item(n, more);
    delete data.read;
    this.send("notification", data, { id: ephemeral ? undefined : `e-${n}`, notificationId: data.notificationId });
  }

  /** Cuts all streams; they come back at once. */
  cut() {
    for (const stream of this.open) stream.destroy();
  }

  async #answer(request, response) {
    const { pathname: path } = new URL(request.url, this.url);
    if (path.endsWith("/stream")) {
      this.streams.push(Object.assign(response, { headers: request.headers }));
      response.writeHead(200, { "content-type": "text/event-stream" });
      const message = { type: "connected", userId: this.userId, connectionId: "c", timestamp: Date.now() };
      const from = request.headers["last-event-id"] ?? "e-0";
      const data = { roles: [], recovered: true, heartbeatSeconds: 15 };
      response.write(`retry: 1\nid: ${from}\nevent: connected\ndata: ${JSON.stringify({ ...message, data })}\n\n`);
      return;
    }
    let body = "";
    for await (const chunk of request) body += chunk;
    this.asked.push({ method: request.method, path, body: body && JSON.parse(body), headers: request.headers });
    const answer = await (request.method === "POST" ? this.mark(path) : this.inbox);
    if (Number.isInteger(answer)) response.writeHead(answer).end();
    else response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(answer));
  }
}

/** When the first of all notifications was made (ms). */
const BEGINNING = Date.now();

/** The notification `n` as the inbox has it: later ones have greater numbers. */
export function item(n, more) {
  const createdAt = new Date(BEGINNING + n * 1_000).toISOString();
  return { notificationId: `n${n}`, eventId: `e-${n}`, message: `m${n}`, severity: "low", createdAt, read: false, ...more };
}
