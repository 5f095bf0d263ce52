// The React example as its user sees it: found by roles and names, as a screen reader finds them.

import assert from "node:assert/strict";

/** How long the page may take until it shows what it should, in milliseconds: a backoff is 30 s at the most. */
const SHOWN_LIMIT_MS = 90_000;

/** What the browser itself notes when a request fails: expected where a test takes the hub away. */
const FAILED_REQUEST = /^Failed to load resource: (net::ERR_|the server responded with a status of 50[0234])/;

/** What the open list shows, from the top, as an expression: unread ones with a star. */
const LISTED = `[...document.querySelectorAll("[role=dialog] li")].map(
  (item) => item.querySelector("p").textContent + (item.dataset.read === "true" ? "" : "*"))`;

/** One open page of the example. */
export class ExamplePage {
  /** Errors and warnings in the browser's console, and exceptions. */
  faults = [];
  /** Everything else that was said there. */
  said = [];

  /** Use {@link ExamplePage.open}. */
  constructor(page) {
    this.page = page;
    this.bell = page.getByRole("button", { name: /^Notifications/ });
    this.list = page.getByRole("dialog", { name: "Notifications" });
    this.toasts = page.getByRole("region", { name: "New notifications" });
  }

  /**
   * Opens the example in a new page of `context`, and waits until it is connected.
   *
   * @param {import("playwright-core").BrowserContext} context
   * @param {string} url
   */
  static async open(context, url) {
    const page = await context.newPage();
    const it = new ExamplePage(page);
    page.setDefaultTimeout(SHOWN_LIMIT_MS);
    page.on("pageerror", (error) => it.faults.push(`exception: ${error.message}`));
    page.on("console", (message) => {
      const kept = ["error", "warning"].includes(message.type()) ? it.faults : it.said;
      kept.push(message.text());
    });
    await page.goto(url);
    await it.connected();
    return it;
  }

  /** Resolves once the page says that it is connected, and as whom. */
  async connected() {
    await this.page.getByText("Live as demo").waitFor();
  }

  /** Resolves once it says that it is not. */
  async disconnected() {
    await this.page.getByText("Connecting…").waitFor();
  }

  /** Resolves once the bell says that so many are unread. */
  async unread(count) {
    const name = count === 0 ? "Notifications" : `Notifications, ${count} unread`;
    await this.page.getByRole("button", { name, exact: true }).waitFor();
  }

  /** Resolves once the open list has these, from the top: unread ones with a star. */
  async lists(...expected) {
    try {
      await this.page.waitForFunction(`JSON.stringify(${LISTED}) === ${JSON.stringify(JSON.stringify(expected))}`);
    } catch (error) {
      assert.deepEqual(await this.page.evaluate(LISTED), expected, error.message);
    }
  }

  /** Fails if the page has done what it must not. */
  assertClean({ hubWentAway = false } = {}) {
    const faults = this.faults.filter((fault) => !(hubWentAway && FAILED_REQUEST.test(fault)));
    assert.deepEqual(faults, [], "the browser's console holds nothing unexpected");
  }
}
