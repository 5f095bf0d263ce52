// A real hub, as a child process, for the tests that come from outside: the browser's and the foreign clients'.
//
// They use nothing of the crate, only what a user has: the command line, the two lines that `serve` prints, and HTTP.
// Nothing here sleeps: every wait is for a line, an exit or an answer, with a limit on it and a sentence that says
// what was waited for. Every child is ended through its own handle, every directory made here is removed again.

import { execFile, spawn } from "node:child_process";
import { createServer } from "node:net";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const TARGET = resolve(ROOT, process.env.CARGO_TARGET_DIR ?? "target");

/** The command under test; `CAMPANILE_BIN` names another build of it. */
export const BINARY = process.env.CAMPANILE_BIN ?? join(TARGET, "debug", "campanile");

/** Where `tests/run` puts what it installs for the tests alone: the Python environment, nginx. */
export const TOOLS = join(TARGET, "tests");

/** How long a program may take to start or to end, in milliseconds. A drain lasts 10 s at the most. */
const PROGRAM_LIMIT_MS = 20_000;

/** How many lines of a program's output are kept for the message of a failure. */
const KEPT_LINES = 100;

/** The hub's own settings, from this shell, must not reach the hub under test. */
const ENVIRONMENT = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !name.startsWith("CAMPANILE_")),
);

/**
 * The promise's value, or an error that says what did not happen in time.
 *
 * @template T
 * @param {number} limitMs
 * @param {string} what
 * @param {Promise<T>} promise
 * @returns {Promise<T>}
 */
export async function within(limitMs, what, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not within ${limitMs} ms: ${what}`)), limitMs);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * A port of 127.0.0.1 that nothing listens on, from below Linux's range for outgoing connections (32768 up): no
 * connection that is made while a hub restarts can take its port, or connect to itself there.
 */
export async function freePort() {
  for (let tries = 0; tries < 100; tries += 1) {
    const port = 20_000 + Math.floor(Math.random() * 12_000);
    const free = await new Promise((answer) => {
      const probe = createServer();
      probe.once("error", () => answer(false));
      probe.listen(port, "127.0.0.1", () => probe.close(() => answer(true)));
    });
    if (free) return port;
  }
  throw new Error("no free port between 20000 and 32000");
}

/** An empty directory of this test's own. */
export function temporaryDirectory() {
  return mkdtemp(join(tmpdir(), "campanile-test-"));
}

/** A child process whose lines and end can be awaited. */
export class Program {
  #child;
  #ended;
  #said = [];
  #listeners = new Set();

  /**
   * @param {string} command
   * @param {string[]} args
   * @param {{cwd?: string, env?: Record<string, string>, onLine?: (line: string) => void}} [options]
   *   `env` is added to this process's; `onLine` is called with each line of standard output.
   */
  constructor(command, args, { cwd, env, onLine } = {}) {
    this.name = command.split("/").at(-1);
    this.#child = spawn(command, args, {
      cwd,
      env: { ...ENVIRONMENT, ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#ended = new Promise((resolve, reject) => {
      this.#child.once("error", reject);
      this.#child.once("close", (code, signal) => resolve({ code, signal }));
    });
    this.#ended.catch(() => {}); // whoever awaits a line or the end hears of it
    createInterface({ input: this.#child.stdout }).on("line", (line) => {
      this.#heard(line);
      onLine?.(line);
    });
    createInterface({ input: this.#child.stderr }).on("line", (line) => this.#heard(line));
  }

  #heard(line) {
    this.#said.push(line);
    if (this.#said.length > KEPT_LINES) this.#said.shift();
    for (const listener of this.#listeners) listener(line);
  }

  /** The last lines of its output, for a failure's message. */
  get said() {
    return this.#said.join("\n");
  }

  /** How it ended: `{code, signal}`. */
  get ended() {
    return this.#ended;
  }

  /**
   * The match of the first line, of either output, that `pattern` fits, also if it was said already.
   *
   * @param {RegExp} pattern
   * @returns {Promise<RegExpMatchArray>}
   */
  async line(pattern) {
    const before = this.#said.map((line) => line.match(pattern)).find(Boolean);
    if (before) return before;
    let listener;
    const found = new Promise((resolve) => {
      listener = (line) => {
        const match = line.match(pattern);
        if (match) resolve(match);
      };
      this.#listeners.add(listener);
    });
    try {
      const what = `${this.name} says ${pattern}`;
      return await within(PROGRAM_LIMIT_MS, what, this.beforeItEnds(what, found));
    } catch (error) {
      throw new Error(`${error.message}; it said:\n${this.said}`, { cause: error });
    } finally {
      this.#listeners.delete(listener);
    }
  }

  /**
   * The promise's value; an error if the program ends before, because then nothing would ever come.
   *
   * @template T
   * @param {string} what
   * @param {Promise<T>} promise
   * @returns {Promise<T>}
   */
  beforeItEnds(what, promise) {
    const early = this.#ended.then(({ code, signal }) => {
      throw new Error(`${this.name} ended (${signal ?? code}) before: ${what}; it said:\n${this.said}`);
    });
    return Promise.race([promise, early]);
  }

  /**
   * Ends it and tells how it ended. One that has ended already is left alone; one that does not heed the signal is
   * killed, and that is an error.
   *
   * @param {NodeJS.Signals} [signal]
   */
  async end(signal = "SIGTERM") {
    this.#child.kill(signal);
    try {
      return await within(PROGRAM_LIMIT_MS, `${this.name} ends upon ${signal}`, this.#ended);
    } catch (error) {
      this.#child.kill("SIGKILL");
      throw new Error(`${error.message}; it said:\n${this.said}`, { cause: error });
    }
  }
}

/** What a program prints on standard output, once it has ended well. */
export async function output(command, args) {
  const { stdout } = await promisify(execFile)(command, args, {
    env: ENVIRONMENT,
    timeout: PROGRAM_LIMIT_MS,
  });
  return stdout.trim();
}

/** A hub on a port and a data directory of its own, both kept across restarts. */
export class Hub {
  #program;
  #publisher;

  /** Use {@link Hub.start}. */
  constructor(directory, port, flags, env) {
    this.directory = directory;
    this.flags = flags;
    this.env = env;
    this.url = `http://127.0.0.1:${port}`;
  }

  /**
   * A hub that accepts connections.
   *
   * @param {string[]} [flags] further ones for `serve`
   * @param {Record<string, string>} [env] settings, such as `CAMPANILE_STREAM_HEARTBEAT`
   */
  static async start(flags = [], env = {}) {
    const hub = new Hub(await temporaryDirectory(), await freePort(), flags, env);
    try {
      await hub.launch();
      hub.#publisher = await hub.token("publisher", { scopes: ["publish"] });
    } catch (error) {
      await hub.close();
      throw error;
    }
    return hub;
  }

  /** Starts `serve`; afterwards {@link signInLink} is this run's. */
  async launch() {
    const { host } = new URL(this.url);
    // In a directory of its own, so that no campanile.toml of the developer's is found.
    this.#program = new Program(BINARY, ["serve", "--listen", host, "--data", this.directory, ...this.flags], {
      cwd: this.directory,
      env: this.env,
    });
    const [, address] = await this.#program.line(/^campanile listening on (\S+)$/);
    if (address !== this.url) throw new Error(`asked for ${this.url}, the hub listens on ${address}`);
    [this.signInLink] = await this.#program.line(/http:\/\/\S+\/sign-in\?code=[^\s)]+/);
  }

  /**
   * Ends `serve` and tells how it ended.
   *
   * @param {NodeJS.Signals} [signal]
   */
  stop(signal) {
    return this.#program.end(signal);
  }

  /** Ends it for good and removes its data. */
  async close() {
    try {
      await this.#program?.end();
    } finally {
      await rm(this.directory, { recursive: true, force: true });
    }
  }

  /**
   * A token, from `campanile token`.
   *
   * @param {string} user
   * @param {{roles?: string[], scopes?: string[]}} [rights]
   */
  token(user, { roles = [], scopes = [] } = {}) {
    const rights = [
      ...roles.flatMap((role) => ["--role", role]),
      ...scopes.flatMap((scope) => ["--scope", scope]),
    ];
    return output(BINARY, ["token", "--data", this.directory, "--user", user, ...rights]);
  }

  /**
   * Publishes one draft with `create-and-notify`.
   *
   * @param {object} draft
   * @param {string} [base] another way to the hub, such as a proxy's address
   * @returns {Promise<{notificationId: string, eventId: string}>} the answer, given once it is durable
   */
  publish(draft, base) {
    return this.post("/notifications/create-and-notify", "application/json", JSON.stringify(draft), base);
  }

  /**
   * A POST as a publisher.
   *
   * @param {string} path
   * @param {string} type the content type
   * @param {string} body
   * @param {string} [base] as for {@link publish}
   * @returns {Promise<any>} the answer's JSON; any status but 2xx is an error
   */
  async post(path, type, body, base = this.url) {
    const response = await fetch(base + path, {
      method: "POST",
      headers: { authorization: `Bearer ${this.#publisher}`, "content-type": type },
      body,
      signal: AbortSignal.timeout(PROGRAM_LIMIT_MS),
    });
    const answer = await response.text();
    if (!response.ok) throw new Error(`POST ${path}: ${response.status} ${answer}`);
    return JSON.parse(answer);
  }
}
