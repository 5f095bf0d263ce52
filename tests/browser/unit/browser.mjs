// A pretend browser: tabs that run the client as a browser would, each in a realm of its own, with Web Locks,
// BroadcastChannel and localStorage between them.
//
// A real browser cannot be told to freeze a tab between two events. Here a tab can be frozen, thawed, hidden, closed and
// crashed at any moment, and time is the test's (vitest's fake timers): what reaches a tab from outside, be it a timer, a
// message, a lock or a byte, is a task, which a frozen tab puts off and a dead one never runs.

import { readFileSync } from "node:fs";
import vm from "node:vm";

const SOURCE = readFileSync(new URL("../../../static/campanile.js", import.meta.url), "utf8");
/** As a script, since a module of another realm takes a flag. */
const SCRIPT = new vm.Script(
  `(() => {\n${SOURCE.replaceAll(/^export /gm, "")}\nreturn { connect, CampanileError, EventStreamParser };\n})()`,
  { filename: "campanile.js" },
);

// Node has it from 19 on.
const CustomEvent =
  globalThis.CustomEvent ??
  class CustomEvent extends Event {
    constructor(type, { detail } = {}) {
      super(type);
      this.detail = detail;
    }
  };

/** Web Locks, as far as the client uses them: exclusive ones, `signal` and `steal`. */
class Locks {
  #held = new Map();
  #queues = new Map();

  request(tab, name, { signal, steal }, callback) {
    return new Promise((resolve, reject) => {
      const request = { tab, name, callback, resolve, reject, settled: false };
      if (steal) {
        const robbed = this.#held.get(name);
        this.#held.delete(name);
        if (robbed) this.#settle(robbed, () => robbed.reject(new DOMException("stolen", "AbortError")));
        this.#queue(name).unshift(request);
      } else {
        if (signal?.aborted) return reject(signal.reason);
        this.#queue(name).push(request);
        signal?.addEventListener("abort", () => {
          const queue = this.#queue(name);
          if (!queue.includes(request)) return; // held: the callback's promise releases it
          queue.splice(queue.indexOf(request), 1);
          reject(signal.reason);
        });
      }
      this.#grant(name);
    });
  }

  holder(name) {
    return this.#held.get(name)?.tab;
  }

  names() {
    return [...this.#held.keys()];
  }

  /** What a tab that is gone held goes to the next. */
  abandon(tab) {
    for (const [name, queue] of this.#queues) {
      this.#queues.set(name, queue.filter((request) => request.tab !== tab));
      if (this.holder(name) === tab) this.#held.delete(name);
      this.#grant(name);
    }
  }

  #queue(name) {
    if (!this.#queues.has(name)) this.#queues.set(name, []);
    return this.#queues.get(name);
  }

  #grant(name) {
    if (this.#held.has(name)) return;
    const request = this.#queue(name).shift();
    if (!request) return;
    this.#held.set(name, request);
    request.tab.task(async () => {
      const value = await request.callback({ name });
      if (request.settled) return;
      this.#held.delete(name);
      this.#settle(request, () => request.resolve(value));
      this.#grant(name);
    });
  }

  #settle(request, act) {
    request.settled = true;
    request.tab.task(act);
  }
}

/** One browser: what all tabs of an origin have in common. */
export class Browser {
  locks = new Locks();
  channels = new Set();
  stored = new Map();
  tabs = [];
  /** Who the page's cookie says this is. */
  cookie = null;

  /** @param {{hub: {fetch: Function}, random?: () => number, latency?: () => number, without?: string[]}} options */
  constructor({ hub, random = () => 0.5, latency = () => 0, without = [] }) {
    Object.assign(this, { hub, random, latency, without });
  }

  /** A tab in which the client is loaded. */
  open(options) {
    const tab = new Tab(this);
    this.tabs.push(tab);
    tab.connect(options);
    return tab;
  }

  get living() {
    return this.tabs.filter((tab) => !tab.dead);
  }
}

const HANDLED = ["notification", "connected", "status", "gap", "error", "state", "heartbeat"];

/** One tab with one page and, once connected, one client. What it was told is in `notifications` and `told`. */
export class Tab {
  dead = false;
  frozen = false;
  /** Its timers are late by a minute, as a browser's are in a tab that was hidden for long. */
  throttled = false;
  /** The ids of the notifications that the page was shown, in this order. */
  shown = [];
  /** The place that the page began at. */
  startedAt;
  /** Everything the page was told: `[type, detail]`. */
  told = [];
  window = new EventTarget();
  document = Object.assign(new EventTarget(), { visibilityState: "visible" });
  /** Desktop notifications that were shown. */
  desktop = [];
  permission = "granted";
  #putOff = [];
  #browser;
  #lastTaskAt = 0;

  constructor(browser) {
    this.#browser = browser;
    const context = vm.createContext(this.#globals());
    vm.runInContext("Math", context).random = browser.random;
    this.client = SCRIPT.runInContext(context);
  }

  get cookie() {
    return this.#browser.cookie;
  }

  connect(options = {}) {
    this.connection = this.client.connect({ url: "http://hub.example/notifications/stream", ...options });
    for (const type of HANDLED) {
      this.connection.addEventListener(type, ({ detail }) => {
        if (this.frozen || this.dead) throw new Error(`code ran in a tab that is ${this.dead ? "dead" : "frozen"}`);
        this.told.push([type, detail]);
        if (type === "connected") this.startedAt ??= this.connection.lastEventId;
        if (type === "notification") this.shown.push(detail.notificationId);
      });
    }
    return this.connection;
  }

  /** The details of the events of one type. */
  all(type) {
    return this.told.filter(([told]) => told === type).map(([, detail]) => detail);
  }

  /** Runs it when the tab runs: after those before it, and after a while if the browser is slow. */
  task(act) {
    if (this.dead) return;
    const at = Math.max(this.#lastTaskAt, Date.now() + this.#browser.latency());
    this.#lastTaskAt = at;
    const run = () => {
      if (this.dead) return;
      if (this.frozen) this.#putOff.push(run);
      else act();
    };
    setTimeout(run, at - Date.now());
  }

  freeze() {
    this.hide();
    this.frozen = true;
  }

  thaw() {
    this.frozen = false;
    for (const run of this.#putOff.splice(0)) setTimeout(run, 0);
    this.show();
  }

  hide() {
    this.#see("hidden");
  }

  show() {
    this.#see("visible");
  }

  #see(visibilityState) {
    this.document.visibilityState = visibilityState;
    if (!this.frozen) this.document.dispatchEvent(new Event("visibilitychange"));
  }

  /** The tab is gone, without a word: closed or crashed. */
  close() {
    this.dead = true;
    this.#browser.locks.abandon(this);
    this.#browser.hub.gone(this);
    for (const channel of this.#browser.channels) if (channel.tab === this) this.#browser.channels.delete(channel);
  }

  #globals() {
    const tab = this;
    const browser = this.#browser;

    class BroadcastChannel {
      constructor(name) {
        Object.assign(this, { name, tab });
        browser.channels.add(this);
      }
      postMessage(word) {
        if (!browser.channels.has(this)) throw new DOMException("closed", "InvalidStateError");
        for (const channel of browser.channels) {
          if (channel === this || channel.name !== this.name) continue;
          const data = structuredClone(word);
          channel.tab.task(() => browser.channels.has(channel) && channel.onmessage?.({ data }));
        }
      }
      close() {
        browser.channels.delete(this);
      }
    }

    class Notification {
      static get permission() {
        return tab.permission;
      }
      constructor(title, options) {
        tab.desktop.push(Object.assign(this, { title, ...options, closed: false }));
      }
      close() {
        this.closed = true;
      }
    }

    const globals = {
      AbortController,
      CustomEvent,
      Date,
      DOMException,
      Event,
      EventTarget,
      ReadableStream,
      TextDecoderStream,
      URL,
      URLSearchParams,
      BroadcastChannel,
      Notification,
      EventSource: tab.#browser.hub.eventSource?.(tab),
      location: new URL("http://app.example/page"),
      document: tab.document,
      addEventListener: tab.window.addEventListener.bind(tab.window),
      focus: () => tab.told.push(["focus"]),
      open: (...link) => tab.told.push(["open", link]),
      navigator: { locks: { request: (name, options, callback) => browser.locks.request(tab, name, options, callback) } },
      localStorage: {
        getItem: (key) => browser.stored.get(key) ?? null,
        setItem: (key, value) => void browser.stored.set(key, value),
        removeItem: (key) => void browser.stored.delete(key),
      },
      setTimeout: (act, ms) => setTimeout(() => tab.task(act), tab.throttled ? ms + 60_000 : ms),
      clearTimeout,
      fetch: (url, init) => browser.hub.fetch(tab, new URL(url), init),
    };
    for (const name of browser.without) {
      if (name === "locks") globals.navigator = {};
      else delete globals[name];
    }
    return globals;
  }
}
