// A reverse proxy that can be told to fail the way proxies fail during a deploy: its upstream is gone, so it cuts the
// streams that it carries and answers 502 to whoever asks.
//
// The Host header is passed on as it came, so that the hub sees the address that the browser sees.

import { once } from "node:events";
import { createServer, request } from "node:http";

/** How long the browser may take until it has come back often enough, in milliseconds. */
const REFUSALS_LIMIT_MS = 90_000;

/** Between a browser and a hub. */
export class FailingProxy {
  #server;
  #upstream;
  #failing = false;
  #carried = new Set();
  #refusals = new EventTarget();

  /** Use {@link FailingProxy.start}. */
  constructor(upstream, server) {
    this.#upstream = upstream;
    this.#server = server;
  }

  /**
   * A proxy that listens and passes everything on.
   *
   * @param {string} upstream the hub's address
   * @param {number} port
   */
  static async start(upstream, port) {
    const server = createServer((incoming, outgoing) => proxy.#serve(incoming, outgoing));
    const proxy = new FailingProxy(upstream, server);
    server.listen(port, "127.0.0.1");
    await once(server, "listening");
    proxy.url = `http://127.0.0.1:${port}`;
    return proxy;
  }

  /** From now on every answer is a 502; what is under way is cut. */
  fail() {
    this.#failing = true;
    for (const outgoing of this.#carried) outgoing.destroy();
  }

  /** From now on everything is passed on again. */
  heal() {
    this.#failing = false;
  }

  /** Resolves once `count` more requests for the stream have been answered with 502. */
  async refused(count) {
    const signal = AbortSignal.timeout(REFUSALS_LIMIT_MS);
    for (let seen = 0; seen < count; seen += 1) await once(this.#refusals, "stream", { signal });
  }

  /** Ends it, and with it what it carries. */
  async close() {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, "close");
  }

  #serve(incoming, outgoing) {
    if (this.#failing) {
      this.#refuse(incoming, outgoing);
      return;
    }
    this.#carried.add(outgoing);
    const { host } = new URL(this.#upstream);
    const asked = request(`http://${host}${incoming.url}`, {
      method: incoming.method,
      headers: incoming.headers,
      agent: false,
    });
    asked.once("response", (answer) => {
      outgoing.writeHead(answer.statusCode, answer.rawHeaders);
      answer.pipe(outgoing);
      answer.once("error", () => outgoing.destroy());
    });
    asked.once("error", () => {
      if (outgoing.headersSent) outgoing.destroy();
      else this.#refuse(incoming, outgoing);
    });
    outgoing.once("close", () => {
      this.#carried.delete(outgoing);
      asked.destroy();
    });
    incoming.pipe(asked);
  }

  #refuse(incoming, outgoing) {
    outgoing.writeHead(502, { "content-type": "text/html", connection: "close" });
    outgoing.end("<html><head><title>502 Bad Gateway</title></head></html>");
    if (incoming.url.startsWith("/notifications/stream")) this.#refusals.dispatchEvent(new Event("stream"));
  }
}
