// What stands around a console in its tests: an administrator at the API, people with open streams, a receiver of
// webhooks, and a shell on the store.

import { createServer } from "node:http";
import { join } from "node:path";

import { output, within } from "./hub.mjs";

/** How long something may take to come about, in milliseconds. */
const LIMIT_MS = 20_000;

/** What a test's hub is started with, so that whoever is away has failed at once. */
export const SWIFT = ["--retry", "1ms", "--start-grace", "0s", "--webhook-allow", "127.0.0.0/8"];

/** An administrator, and whoever else a test lets call the API. */
export class Operator {
  #hub;
  #token;

  static async of(hub) {
    const operator = new Operator();
    operator.#hub = hub;
    operator.#token = await hub.token("ops", { scopes: ["publish", "admin"] });
    return operator;
  }

  /**
   * Calls a route and gives the JSON of its answer; a status but 2xx is an error.
   *
   * @param {string} method
   * @param {string} path
   * @param {object} [body]
   */
  async call(method, path, body, { expected } = {}) {
    const response = await fetch(this.#hub.url + path, {
      method,
      headers: { authorization: `Bearer ${this.#token}`, "content-type": "application/json" },
      body: body && JSON.stringify(body),
      signal: AbortSignal.timeout(LIMIT_MS),
    });
    const text = await response.text();
    if (expected ? response.status !== expected : !response.ok) {
      throw new Error(`${method} ${path}: ${response.status} ${text}`);
    }
    return text && JSON.parse(text);
  }

  /** Publishes a draft. */
  publish(draft) {
    return this.call("POST", "/notifications", draft);
  }

  /** Asks again and again until an answer is as it should be, and gives it. */
  async until(what, path, fits) {
    let last;
    const asking = async () => {
      for (;;) {
        last = await this.call("GET", path);
        if (fits(last)) return last;
      }
    };
    try {
      return await within(LIMIT_MS, what, asking());
    } catch (error) {
      throw new Error(`${error.message}; the last answer: ${JSON.stringify(last)}`, { cause: error });
    }
  }

  /** Waits until so many recipients have failed. */
  failed(count) {
    return this.until(`${count} have failed`, "/notifications/status", ({ hubs }) => hubs[0].queue.failed === count);
  }
}

/** A stream that somebody holds, until `close`. Resolves once the hub has admitted it. */
export async function openStream(hub, user, roles = []) {
  const away = new AbortController();
  const token = await hub.token(user, { roles });
  const response = await fetch(`${hub.url}/notifications/stream`, {
    headers: { authorization: `Bearer ${token}` },
    signal: away.signal,
  });
  if (response.status !== 200) throw new Error(`a stream for ${user}: ${response.status}`);
  // Read to the end, so that the hub never finds it slow.
  const read = (async () => {
    try {
      for await (const _ of response.body);
    } catch {} // it was closed
  })();
  return {
    async close() {
      away.abort();
      await read;
    },
  };
}

/** A receiver of webhooks that answers with `status` and `text`, both of which may be changed. */
export class Receiver {
  status = 200;
  text = "thank you";
  #server;

  static async start() {
    const it = new Receiver();
    it.#server = createServer((request, response) => {
      request.resume();
      request.on("end", () => {
        response.writeHead(it.status, { "content-type": "text/plain" });
        response.end(it.text);
      });
    });
    await new Promise((resolve) => it.#server.listen(0, "127.0.0.1", resolve));
    return it;
  }

  get url() {
    return `http://127.0.0.1:${this.#server.address().port}/hook`;
  }

  close() {
    this.#server.closeAllConnections();
    return new Promise((resolve) => this.#server.close(resolve));
  }
}

/** Leaves what has failed half done, as by a hub that claimed it so many minutes ago and then hung. */
export async function claimByHand(hub, minutes) {
  const script = [
    "import sqlite3, sys, time",
    "store = sqlite3.connect(sys.argv[1], timeout=20)",
    "store.execute('PRAGMA ignore_check_constraints = ON')",
    "since = int(time.time() * 1000) - int(sys.argv[2]) * 60000",
    "found = store.execute(\"UPDATE delivery SET state = 'owed', next_ms = 1, attempts = 0, owner = 'nobody', leased_ms = ?\", (since,))",
    "store.commit()",
    "print(found.rowcount)",
  ].join("\n");
  const claimed = await output("python3", ["-c", script, join(hub.directory, "campanile.db"), String(minutes)]);
  if (Number(claimed) < 1) throw new Error("nothing was there to be claimed");
}
