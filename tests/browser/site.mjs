// A web application's own server, as a browser sees it: its pages, and behind them, on the same origin, the hub.

import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer, request } from "node:http";
import { extname, join } from "node:path";

const TYPES = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css" };

/** Serves a directory, and passes on what is not in it. */
export class Site {
  #server;
  #directory;
  #hub;
  #prefixes;
  #headers;

  /**
   * A site that listens.
   *
   * @param {{directory: string, hub: string, prefixes: string[], headers?: Record<string, string>}} site
   *   `prefixes` begin the paths that are passed on to the hub; `headers` are added to what is passed on
   */
  static async start({ directory, hub, prefixes, headers = {} }) {
    const site = new Site();
    site.#directory = directory;
    site.#hub = hub;
    site.#prefixes = prefixes;
    site.#headers = headers;
    site.#server = createServer((incoming, outgoing) => site.#serve(incoming, outgoing));
    site.#server.listen(0, "127.0.0.1");
    await once(site.#server, "listening");
    site.url = `http://127.0.0.1:${site.#server.address().port}`;
    return site;
  }

  async close() {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, "close");
  }

  async #serve(incoming, outgoing) {
    const { pathname } = new URL(incoming.url, this.url);
    if (this.#prefixes.some((prefix) => pathname.startsWith(prefix))) return this.#pass(incoming, outgoing);
    const file = join(this.#directory, pathname === "/" ? "index.html" : pathname);
    try {
      const content = await readFile(file);
      outgoing.writeHead(200, { "content-type": TYPES[extname(file)] ?? "application/octet-stream" }).end(content);
    } catch {
      outgoing.writeHead(404).end();
    }
  }

  #pass(incoming, outgoing) {
    const headers = { ...incoming.headers, ...this.#headers };
    const asked = request(this.#hub + incoming.url, { method: incoming.method, headers, agent: false });
    asked.once("response", (answer) => {
      outgoing.writeHead(answer.statusCode, answer.rawHeaders);
      answer.pipe(outgoing);
      answer.once("error", () => outgoing.destroy());
    });
    asked.once("error", () => {
      if (outgoing.headersSent) outgoing.destroy();
      else outgoing.writeHead(502).end();
    });
    outgoing.once("close", () => asked.destroy());
    incoming.pipe(asked);
  }
}
