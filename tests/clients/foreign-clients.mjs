// The clients that others wrote, each as a program that prints what it receives.
//
// A client differs from another in its command line alone: all report their events as `{event, id, data}`, one to a
// line. curl knows nothing of event streams: its output is the wire itself, put together here by the one rule that
// the hub's wire keeps to, a field to a line and an empty line after each event.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { Program, TOOLS, within } from "../browser/hub.mjs";

const PYTHON = join(TOOLS, "python", "bin", "python");

const beside = (name) => fileURLToPath(new URL(name, import.meta.url));

/** How each is called: its command and its arguments, the stream's address being the last. */
const COMMANDS = {
  // --no-buffer is for curl's own output.
  curl: (url, token) => [
    "curl",
    ["--silent", "--show-error", "--no-buffer", "--fail", "--header", `Authorization: Bearer ${token}`, url],
  ],
  "npm eventsource": (url) => [process.execPath, [beside("receive_eventsource.mjs"), url]],
  "PyPI httpx-sse": (url) => [PYTHON, [beside("receive_httpx_sse.py"), url]],
  "PyPI sseclient-py": (url) => [PYTHON, [beside("receive_sseclient.py"), url]],
};

/** The clients' names. */
export const CLIENTS = Object.keys(COMMANDS);

/** One client that follows a stream. */
export class ForeignClient {
  #program;
  #received = [];
  #changed = () => {};
  #fault;

  /** Use {@link ForeignClient.follow}. */
  constructor(name, url, token) {
    const [command, args] = COMMANDS[name](url, token);
    if (command === PYTHON) assert.ok(existsSync(PYTHON), `${PYTHON} is missing: tests/run makes it`);
    this.name = name;
    const read = name === "curl" ? this.#eventsOfTheWire() : (line) => this.#receive(JSON.parse(line));
    this.#program = new Program(command, args, {
      env: { TOKEN: token },
      onLine: (line) => {
        try {
          read(line);
        } catch (error) {
          this.#fault ??= error;
          this.#changed();
        }
      },
    });
  }

  /**
   * Starts the client and waits for its stream's `connected`.
   *
   * @param {string} name one of {@link CLIENTS}
   * @param {string} base the hub's address, or a proxy's
   * @param {string} token
   */
  static async follow(name, base, token) {
    const client = new ForeignClient(name, `${base}/notifications/stream`, token);
    try {
      await client.#until("connected", () => client.#received.some(({ event }) => event === "connected"), 20_000);
    } catch (error) {
      await client.close();
      throw error;
    }
    return client;
  }

  /** The notifications received so far: each event's id, and its data as JSON. */
  get notifications() {
    return this.#received
      .filter(({ event }) => event === "notification")
      .map(({ id, data }) => ({ id, data: JSON.parse(data).data }));
  }

  /**
   * Waits until so many notifications have come.
   *
   * @param {number} count
   * @param {number} limitMs
   */
  receives(count, limitMs) {
    const enough = () => this.#received.filter(({ event }) => event === "notification").length >= count;
    return this.#until(`${count} notifications`, enough, limitMs);
  }

  /** Ends the client. */
  close() {
    return this.#program.end("SIGKILL"); // curl and Python alike: nothing of theirs is left to put in order
  }

  async #until(what, fulfilled, limitMs) {
    const done = new Promise((resolve, reject) => {
      this.#changed = () => {
        if (this.#fault) reject(this.#fault);
        else if (fulfilled()) resolve();
      };
      this.#changed();
    });
    try {
      await within(limitMs, `${this.name} has ${what}`, this.#program.beforeItEnds(what, done));
    } catch (error) {
      const counts = `${this.notifications.length} notifications came`;
      throw new Error(`${error.message}; ${counts}`, { cause: error });
    } finally {
      this.#changed = () => {};
    }
  }

  #receive(event) {
    this.#received.push(event);
    this.#changed();
  }

  #eventsOfTheWire() {
    let fields = {};
    return (line) => {
      if (line === "") {
        if ("data" in fields) this.#receive(fields);
        fields = {};
        return;
      }
      const match = line.match(/^(\w*): (.*)$/);
      assert.ok(match, `a line is a field: ${JSON.stringify(line)}`);
      const [, field, value] = match;
      assert.ok(!(field in fields), `one ${field} to an event: ${JSON.stringify(line)}`);
      fields[field] = value;
    };
  }
}
