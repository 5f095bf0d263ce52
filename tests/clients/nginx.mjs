// nginx from Debian's package, in front of a hub: with the settings that the README quotes, or with hardly any.
//
// tests/nginx/campanile.conf is included as it stands, but for the two addresses; around it is only what nginx needs
// in order to run beside another one: a directory of its own for everything that it writes, and no daemon.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { readFile, rm, writeFile } from "node:fs/promises";
import { userInfo } from "node:os";
import { join } from "node:path";

import { Program, TOOLS, freePort, temporaryDirectory } from "../browser/hub.mjs";

const SNIPPET = new URL("../nginx/campanile.conf", import.meta.url);

/** Where nginx may be, the one that tests/run unpacked being the last. */
const PLACES = ["/usr/sbin/nginx", "/usr/local/sbin/nginx", "/usr/bin/nginx", join(TOOLS, "nginx/usr/sbin/nginx")];

/** The text with `from` replaced, which must stand in it exactly once: else the test would not test the snippet. */
function replaceOnce(text, from, to) {
  assert.equal(text.split(from).length, 2, `${from} stands once in the snippet`);
  return text.replace(from, to);
}

/** A running nginx. */
export class Nginx {
  #program;
  #directory;

  /** Use {@link Nginx.start} or {@link Nginx.startBare}. */
  constructor(directory, url) {
    this.#directory = directory;
    this.url = url;
  }

  /**
   * With the settings that the README quotes.
   *
   * @param {string} hubUrl
   */
  static start(hubUrl) {
    return Nginx.#start(async (port) => {
      const snippet = await readFile(SNIPPET, "utf8");
      const passing = replaceOnce(snippet, "server 127.0.0.1:8400;", `server ${new URL(hubUrl).host};`);
      return replaceOnce(passing, "listen 80;", `listen 127.0.0.1:${port};`);
    });
  }

  /**
   * With `proxy_pass` alone, and so HTTP/1.0 towards the hub, as nginx did by itself until 1.29. Its buffering then
   * keeps back what does not fill a buffer, unless the hub asks it not to. (With chunks, under 1.1, it passes each on.)
   *
   * @param {string} hubUrl
   */
  static startBare(hubUrl) {
    return Nginx.#start(
      (port) =>
        `server { listen 127.0.0.1:${port}; location / { proxy_http_version 1.0; proxy_pass ${hubUrl}; } }\n`,
    );
  }

  static async #start(site) {
    const binary = PLACES.find(existsSync);
    assert.ok(binary, "nginx is missing: tests/run unpacks it");
    const port = await freePort();
    const directory = await temporaryDirectory();
    const nginx = new Nginx(directory, `http://127.0.0.1:${port}`);
    try {
      await writeFile(join(directory, "site.conf"), await site(port));
      await writeFile(join(directory, "nginx.conf"), configuration());
      nginx.#program = new Program(binary, ["-p", `${directory}/`, "-c", "nginx.conf", "-e", "stderr"]);
      await nginx.#program.line(/start worker process \d+/); // said after the port is open
    } catch (error) {
      await nginx.close();
      throw error;
    }
    return nginx;
  }

  /** Ends it and removes its directory. */
  async close() {
    try {
      await this.#program?.end();
    } finally {
      await rm(this.#directory, { recursive: true, force: true });
    }
  }
}

function configuration() {
  const { uid, username } = userInfo();
  const areas = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
  return [
    "daemon off;",
    "worker_processes 1;",
    "pid nginx.pid;",
    "error_log stderr notice;",
    // Started by root, the workers would be nobody, who may not enter the directory.
    ...(uid === 0 ? [`user ${username};`] : []),
    "events { worker_connections 768; }",
    "http {",
    "access_log off;",
    ...areas.map((area) => `${area}_temp_path ${area};`),
    "include site.conf;",
    "}",
    "",
  ].join("\n");
}
