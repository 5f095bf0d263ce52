'use client';
// Campanile's browser client as a React hook: one connection however many components use it, and a list for a bell.
//
// What components share is a feed: a connection and what came of it. Components join and leave it in effects, never while
// rendering, and it outlives the last one for a moment: StrictMode mounts everything twice, fast refresh and a change of
// route mount it again, and none of them should cost a connection. Types and options: react.d.ts.

import { useCallback, useEffect, useInsertionEffect, useMemo, useRef, useSyncExternalStore } from "react";
import { CampanileError, connect } from "./campanile.js";

/** How long a feed outlives the last component that uses it (ms). */
const LINGER_MS = 1_000;
/** How many notifications are kept unless `limit` says otherwise, and the most it may say. */
const DEFAULT_LIMIT = 200;
const MAX_LIMIT = 1_000;
/** The events of a connection. */
const EVENTS = ["connected", "notification", "status", "gap", "heartbeat", "state", "error"];

/** What there is before a connection, and on a server. */
const NOTHING = Object.freeze({
  isConnected: false,
  connectionInfo: null,
  unread: null,
  notifications: Object.freeze([]),
});

/** The feeds in use, by what `keyOf` makes of their options. */
const feeds = new Map();

class Feed {
  /** What components render: replaced and never changed, so that all that render at once see the same. */
  snapshot = NOTHING;
  #connection;
  /** Called when it is closed for good. */
  #onEnd;
  #members = new Set();
  /** A ref to the options of whoever joined last. */
  #latest;
  #timer;
  /** Newest first, at most `#limit`. `read` is what the hub has said, or acknowledged. */
  #list = [];
  #limit = 0;
  /** Marks on their way to the hub: sets of ids that are shown as read meanwhile. */
  #marks = new Set();
  /** How many times the hub has told the unread count. */
  #counts = 0;
  /** The connection's last event id, before the event that is being taken. */
  #place;
  /** Whose list this is, and whether the inbox is in it. */
  #userId;
  #loaded = false;
  #loading = false;
  #loadAgain = false;

  constructor(latest, onEnd) {
    this.#latest = latest;
    this.#onEnd = onEnd;
    this.#connection = connect(this.#options());
    // Before those of any component, so that a handler finds what it is told of in the list.
    const on = (type, take) =>
      this.#connection.addEventListener(type, ({ detail }) => {
        take.call(this, detail);
        this.#place = this.#connection.lastEventId;
      });
    on("connected", this.#connected);
    on("notification", this.#received);
    on("status", this.#counted);
    on("gap", this.#missed);
    on("heartbeat", () => {});
    on("state", this.#show);
  }

  /** Takes a component in; what is returned takes it out again. */
  join(latest, changed) {
    clearTimeout(this.#timer);
    this.#latest = latest;
    const member = { changed };
    this.#members.add(member);
    const leaving = new AbortController();
    const { signal } = leaving;
    for (const type of EVENTS) {
      const call = ({ detail, message }) => latest.current[handlerOf(type)]?.(detail, message);
      this.#connection.addEventListener(type, call, { signal });
    }
    if (this.#connection.state === "open") {
      // Who comes late is connected as well; told a little later, for of two mounts in StrictMode the first is taken back.
      queueMicrotask(() => signal.aborted || latest.current.onConnected?.(this.#connection.info));
    }
    return () => {
      leaving.abort();
      this.#members.delete(member);
      if (this.#members.size === 0) this.#timer = setTimeout(() => this.#close(), LINGER_MS);
    };
  }

  /** Keeps that many from now on, if it kept fewer. */
  keep(limit) {
    if (limit <= this.#limit) return;
    this.#limit = limit;
    if (this.#connection.state === "open") this.#load();
  }

  reconnect() {
    this.#connection.reconnect();
  }

  async markRead(id) {
    const known = this.#list.find((item) => item.notificationId === id);
    if (known && this.#isRead(known)) return;
    const by = (step) => (unread) => (known && Number.isInteger(unread) ? Math.max(unread + step, 0) : unread);
    // 404: it is in no inbox, as a broadcast is in none, and has no mark but the one here.
    await this.#mark([id], by(-1), by(1), () => this.#connection.markRead(id), 404);
  }

  async markAllRead() {
    const { unread } = this.snapshot;
    const ids = this.#list.map(({ notificationId }) => notificationId);
    // Up to what this page has received: what comes meanwhile nobody has seen.
    const upTo = this.#connection.lastEventId || undefined;
    await this.#mark(ids, () => 0, () => unread, () => this.#connection.markAllRead(upTo));
  }

  /**
   * Shows these as read and `fewer` unread while the hub is asked to mark them. If it refuses, takes that back; but with the
   * status `uncounted` it has said no more than that they are not in its count.
   */
  async #mark(ids, fewer, asBefore, send, uncounted) {
    const mark = new Set(ids);
    const counts = this.#counts;
    this.#marks.add(mark);
    this.#show({ unread: fewer(this.snapshot.unread) });
    let refused;
    try {
      await send();
    } catch (error) {
      refused = error;
    }
    this.#marks.delete(mark);
    const stays = !refused || (uncounted && refused.status === uncounted);
    if (stays) this.#list = this.#list.map((item) => (mark.has(item.notificationId) ? { ...item, read: true } : item));
    // A count that came meanwhile is the hub's, and never had a mark in it that was refused.
    this.#show(refused && counts === this.#counts ? { unread: asBefore(this.snapshot.unread) } : {});
    if (stays) return;
    this.#report(refused);
    throw refused;
  }

  #connected({ userId }) {
    const isOther = this.#userId !== userId;
    if (isOther) {
      this.#list = [];
      this.#loaded = false;
    }
    this.#userId = userId;
    this.#show(isOther ? { unread: null } : {});
    if (!this.#loaded) this.#load();
  }

  #received(notification) {
    const { info, lastEventId } = this.#connection;
    // Without a place of its own, and from this moment: ephemeral. A typing mark is nothing to keep.
    if (lastEventId === this.#place && Date.parse(notification.createdAt) >= info.timestamp) return;
    this.#merge([{ ...notification, read: false }]);
  }

  #counted({ unread = null }) {
    const before = this.snapshot.unread;
    this.#counts++;
    this.#show({ unread });
    // Fewer than are shown here: some were read elsewhere, and the inbox knows which.
    if (asNumber(unread) < asNumber(before)) this.#load();
  }

  #missed({ notifications }) {
    if (Array.isArray(notifications)) this.#merge(notifications);
    else this.#load();
  }

  /** Takes the newest of the inbox into the list; once more afterwards, if asked to meanwhile. */
  async #load() {
    if (this.#limit === 0) return;
    this.#loadAgain = this.#loading;
    if (this.#loading) return;
    this.#loading = true;
    const userId = this.#userId;
    try {
      const { notifications } = await this.#connection.inbox();
      if (userId === this.#userId) {
        this.#loaded = true;
        this.#merge(notifications);
      }
    } catch (cause) {
      const message = "The inbox could not be read; the list has what the stream brings.";
      this.#report(new CampanileError("inbox", message, { status: cause.status, cause }));
    }
    this.#loading = false;
    if (this.#loadAgain || userId !== this.#userId) this.#load();
  }

  /** Adds what is new, each in its place by time. What was read once stays read. */
  #merge(notifications) {
    const given = new Map(notifications.map((item) => [item.notificationId, item]));
    const known = this.#list.map((item) => {
      const read = item.read || given.get(item.notificationId)?.read === true;
      given.delete(item.notificationId);
      return read === item.read ? item : { ...item, read };
    });
    this.#list = [...given.values(), ...known].sort(byTime).slice(0, this.#limit);
    this.#show();
  }

  #isRead({ notificationId, read }) {
    return read || [...this.#marks].some((mark) => mark.has(notificationId));
  }

  /** Hands out a new snapshot. */
  #show({ unread = this.snapshot.unread } = {}) {
    const { info, state } = this.#connection;
    const list = this.#list.map((item) => (this.#isRead(item) === item.read ? item : { ...item, read: true }));
    const before = this.snapshot.notifications;
    const same = list.length === before.length && list.every((item, i) => item === before[i]);
    const notifications = same ? before : list;
    this.snapshot = { isConnected: state === "open", connectionInfo: info, unread, notifications };
    for (const { changed } of this.#members) changed();
  }

  /** Tells of it in the way in which the connection tells of its own errors. */
  #report(error) {
    this.#connection.dispatchEvent(new CustomEvent("error", { detail: error }));
  }

  #close() {
    this.#connection.close();
    this.#onEnd();
  }

  /** Handlers left out, for each component has its own. What else is a function is that of whoever joined last. */
  #options() {
    const options = {};
    for (const [name, value] of Object.entries(this.#latest.current)) {
      if (name === "limit" || /^on[A-Z]/.test(name)) continue;
      const ask = (...given) => (this.#latest.current[name] ?? value)(...given);
      options[name] = typeof value === "function" ? ask : value;
    }
    return options;
  }
}

/** `onNotification`, for `notification`. */
function handlerOf(type) {
  return `on${type[0].toUpperCase()}${type.slice(1)}`;
}

/** What components must have in common to share a feed: where it comes from, and who asks. */
function keyOf({ url = "/notifications/stream", token, getToken, withCredentials }) {
  return JSON.stringify([String(url), token, Boolean(getToken), Boolean(withCredentials)]);
}

/** Newest first. The hub's moments are all of one form, in which the greater text is the later moment. */
function byTime({ createdAt: a }, { createdAt: b }) {
  return Number(a < b) - Number(a > b);
}

function asNumber(unread) {
  return unread === "1000+" ? 1_001 : (unread ?? NaN);
}

/** An action's promise. Who does not wait for it has `onError`, and no unhandled rejection. */
function promised(promise) {
  promise.catch(() => {});
  return promise;
}

/**
 * The caller's notifications, live, and the inbox before them.
 *
 * @example
 * const { unread, notifications, markRead } = useNotificationSSE({ onNotification: ({ message }) => toast(message) });
 *
 * @param {import("./react.js").UseNotificationSSEOptions} [options]
 * @returns {import("./react.js").NotificationSSE}
 */
export function useNotificationSSE(options = {}) {
  const { limit = DEFAULT_LIMIT } = options;
  if (!Number.isInteger(limit) || limit < 0 || limit > MAX_LIMIT) {
    throw new RangeError(`limit must be a whole number from 0 to ${MAX_LIMIT}`);
  }
  const key = keyOf(options);
  const latest = useRef(options);
  // Before any other effect of this render: no event meets a handler of the one before.
  useInsertionEffect(() => {
    latest.current = options;
  });

  const subscribe = useCallback(
    (changed) => {
      if (!feeds.has(key)) feeds.set(key, new Feed(latest, () => feeds.delete(key)));
      return feeds.get(key).join(latest, changed);
    },
    [key],
  );
  const current = () => feeds.get(key)?.snapshot ?? NOTHING;
  const snapshot = useSyncExternalStore(subscribe, current, () => NOTHING);
  useEffect(() => feeds.get(key)?.keep(limit), [key, limit]);

  const actions = useMemo(() => {
    const ask = (what) => {
      const feed = feeds.get(key);
      return promised(feed ? what(feed) : Promise.reject(new Error("useNotificationSSE: nothing is connected any more")));
    };
    return {
      reconnect: () => feeds.get(key)?.reconnect(),
      markRead: (id) => ask((feed) => feed.markRead(id)),
      markAllRead: () => ask((feed) => feed.markAllRead()),
    };
  }, [key]);
  const notifications = useMemo(() => snapshot.notifications.slice(0, limit), [snapshot.notifications, limit]);
  return { ...snapshot, notifications, ...actions };
}
