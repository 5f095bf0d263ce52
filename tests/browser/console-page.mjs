// The console as a test sees it: opened by the sign-in link, read through its hooks, and watched for what a page must
// never do.
//
// Watched are violations of the Content-Security-Policy, exceptions, errors in the browser's console, and loads: a page
// that reloaded would show the right notifications for the wrong reason.

import assert from "node:assert/strict";

/** How long the page may take until it shows what it should, in milliseconds: a backoff is 30 s at the most. */
const SHOWN_LIMIT_MS = 90_000;

/** How long until it says what it has only to be told, in milliseconds: what is counted is asked for once a minute. */
const SAID_LIMIT_MS = 20_000;

/** What the browser notes of a request that was refused: expected where a test asks for what the hub refuses. */
const REFUSED_REQUEST = /^Failed to load resource: the server responded with a status of 4\d\d/;

/** What the browser itself notes when a request fails: expected where a test takes the server away. */
const FAILED_REQUEST =
  /^Failed to load resource: (net::ERR_(CONNECTION_(REFUSED|RESET|CLOSED)|EMPTY_RESPONSE|INCOMPLETE_CHUNKED_ENCODING|ABORTED)|the server responded with a status of 50[23])/;

/** One open console. */
export class ConsolePage {
  #page;
  #faults = [];
  #loads = 0;

  /** Use {@link ConsolePage.open}. */
  constructor(page) {
    this.#page = page;
  }

  /**
   * Opens `link` in a new page of `context` and waits until the stream is open.
   *
   * @param {import("playwright-core").BrowserContext} context
   * @param {string} link
   */
  static async open(context, link) {
    const page = await context.newPage();
    const it = new ConsolePage(page);
    page.setDefaultTimeout(SHOWN_LIMIT_MS);
    page.on("pageerror", (error) => it.#faults.push(`exception: ${error.message}`));
    page.on("console", (message) => {
      if (["error", "warning"].includes(message.type())) it.#faults.push(message.text());
    });
    // A refused inline script or style is a console error too; a refused image or request need not be.
    await page.addInitScript(() => {
      document.addEventListener("securitypolicyviolation", (event) => {
        console.error(`policy violation: ${event.effectiveDirective} ${event.blockedURI}`);
      });
    });
    await page.goto(link);
    await it.connected();
    page.on("load", () => {
      it.#loads += 1;
    });
    return it;
  }

  /** The page itself, for what only one test does. */
  get page() {
    return this.#page;
  }

  /** Goes to a room, as by its link in the tower, and waits until it is open. */
  async enter(room) {
    await this.#page.click(`#rooms a[data-room="${room}"]`);
    await this.#page.waitForSelector(`body[data-room="${room}"] #heading`);
  }

  /** Resolves once the page says that its stream is open. */
  async connected() {
    await this.#page.waitForSelector("#connection[data-state=open]", { state: "attached" });
  }

  /** Resolves once the page says that its stream is not open. */
  async disconnected() {
    await this.#page.waitForSelector("#connection:not([data-state=open])", { state: "attached" });
  }

  /** Fills in the form and sends it. */
  async send({ audience, target, message, title }) {
    await this.enter("send");
    await this.#page.click("#empty-button");
    if (audience === "everyone") await this.#page.check("#send-everyone");
    if (audience === "user") await this.#page.fill("#send-users", target);
    if (audience === "role") await this.#page.fill("#send-roles", target);
    if (title !== undefined) await this.#page.fill("#send-title", title);
    await this.#page.fill("#send-message", message);
    await this.#page.click("#send-button");
  }

  /** Sends a test notification to oneself. */
  async sendTest() {
    await this.enter("send");
    await this.#page.click("#test-button");
  }

  /** What the list shows, from the top: the ids of the notifications. */
  ids() {
    return this.#page.$$eval("#notifications li[data-id]", (items) => items.map((item) => item.dataset.id));
  }

  /** What the list shows, from the top: each notification's text. */
  texts() {
    return this.#page.$$eval("#notifications li[data-id]", (items) => items.map((item) => item.textContent));
  }

  /**
   * Waits until the notification is shown, and until then only: what is shown with it is for the test to check.
   *
   * @param {string} id
   */
  async shows(id) {
    await this.#page.waitForSelector(`#notifications li[data-id="${id}"]`, { state: "attached" });
  }

  /**
   * Waits until so many notifications are shown.
   *
   * @param {number} count
   */
  async showsCount(count) {
    await this.#page.waitForFunction(
      (wanted) => document.querySelectorAll("#notifications li[data-id]").length >= wanted,
      count,
    );
  }

  /** Goes to an address within the page, such as `#/deliveries?user=42`, and waits until that is open. */
  async at(hash) {
    await this.#page.evaluate((to) => {
      document.getElementById("heading")?.remove();
      if (location.hash === to) dispatchEvent(new Event("hashchange"));
      else location.hash = to;
    }, hash);
    await this.#page.waitForSelector("#heading");
  }

  /** Waits until an element's text fits. */
  async says(selector, pattern) {
    try {
      await this.#page.waitForFunction(
        ([where, source, flags]) => {
          const regexp = new RegExp(source, flags);
          return [...document.querySelectorAll(where)].some((element) => regexp.test(element.textContent));
        },
        [selector, pattern.source, pattern.flags],
        { timeout: SAID_LIMIT_MS },
      );
    } catch (error) {
      const texts = await this.#page.$$eval(selector, (found) => found.map((element) => element.textContent));
      throw new Error(`${selector} does not say ${pattern}: ${JSON.stringify(texts)}`, { cause: error });
    }
  }

  /** Waits until the focus is somewhere: whatever a button does, also to itself, a keyboard goes on from a place. */
  async keepsFocus(selector = "*") {
    const there = (wanted) => document.activeElement !== document.body && document.activeElement?.matches(wanted);
    try {
      await this.#page.waitForFunction(there, selector, { timeout: SAID_LIMIT_MS });
    } catch (error) {
      const at = await this.#page.evaluate(() => document.activeElement?.outerHTML.slice(0, 120));
      throw new Error(`the focus is not on ${selector}, but on ${at}`, { cause: error });
    }
  }

  /** The rows of the table with this caption: of each, the texts of its cells by the heads of their columns. */
  rows(caption) {
    return this.#page.$$eval(
      "table",
      (tables, wanted) => {
        const table = tables.find((one) => !one.hidden && one.caption.textContent.startsWith(wanted));
        return [...(table?.tBodies[0].rows ?? [])].map((row) =>
          Object.fromEntries([...row.cells].map((cell) => [cell.dataset.label, cell.textContent])),
        );
      },
      caption,
    );
  }

  /** Waits until the table with this caption has so many rows, and gives them. */
  async hasRows(caption, count) {
    const seen = ([wanted, many]) => {
      const table = [...document.querySelectorAll("table")].find((one) => !one.hidden && one.caption.textContent.startsWith(wanted));
      return (table?.tBodies[0].rows.length ?? 0) === many;
    };
    try {
      await this.#page.waitForFunction(seen, [caption, count], { timeout: SAID_LIMIT_MS });
    } catch (error) {
      throw new Error(`"${caption}" has not ${count} rows: ${JSON.stringify(await this.rows(caption))}`, { cause: error });
    }
    return this.rows(caption);
  }

  /** A function's value in the page. */
  evaluate(code, argument) {
    return this.#page.evaluate(code, argument);
  }

  /**
   * Fails if the page has done what it must not.
   *
   * @param {{serverWentAway?: boolean, refused?: boolean}} [circumstances] whether the browser may have noted requests
   *   that failed, or that the hub refused
   */
  assertClean({ serverWentAway = false, refused = false } = {}) {
    const expected = [serverWentAway && FAILED_REQUEST, refused && REFUSED_REQUEST].filter(Boolean);
    const faults = this.#faults.filter((fault) => !expected.some((pattern) => pattern.test(fault)));
    assert.deepEqual(faults, [], "the browser's console holds nothing unexpected");
    assert.equal(this.#loads, 0, "the page was not reloaded");
  }
}
