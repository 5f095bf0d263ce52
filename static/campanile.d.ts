// Types of campanile.js, and what stands behind them: the file itself is held under 6 KB, so it has few comments. What
// a field means on the wire is the hub's contract; what the client makes of it stands here.
//
// What it promises
//   - It comes back for ever: after any status, a cut, or silence for two heartbeats, at a delay drawn anew each time
//     between 0 and 1 s, 2 s, 4 s … 30 s, on top of what the hub's `retry:` asks for. `Retry-After` and `bye` are obeyed. Once
//     the network returns or the page is looked at again, it tries at once, unless the hub asked for patience.
//   - It shows nothing twice on one page: the newest 1,000 ids are recognised.
//   - It loses nothing: it goes on from the last id, across reloads too. Where the hub can no longer replay what was missed
//     (`gap`), it fetches the inbox.
//   - Whatever it cannot mend by itself is told: `onError`, `onState`.
//   - One stream for all tabs of a browser that belong to the same user.
//
// How tabs share a stream
//   Each tab begins with a stream of its own, upon its own credentials, and is told by the hub's `connected` who it is. Tabs
//   that were called by the same user and the same roles, at the same URL, are a group; its name is made of these three. A
//   Web Lock of that name elects one to lead. The others end their own stream, and hear the leader's events through a
//   BroadcastChannel of that name. So no tab is ever told of an event for another user or role than the hub has named to it:
//   there is no channel between groups, and no group that a tab could enter by guessing. Whoever signs in as somebody else in one
//   tab leaves the others' group with that tab's next `connected`. Tabs opened before keep what they were, as they would
//   with a stream of their own, until that stream ends; then each of them is told anew who it is.
//
//   Every event on the channel names the place that the stream was at before, and the place behind it. A tab takes it only if
//   it stands at the first or later, and passes it over if it stands at the second or later. So it can neither miss an event
//   unnoticed nor take one twice: if one is missing (it was frozen, it was loading), it opens a stream of its own from
//   where it stands, until it has caught up. For the same reason a tab that takes over, because the leader was closed or
//   killed, simply goes on from where it stands itself: whoever stands further back notices, and whoever is ahead skips.
//
//   A leader that is frozen keeps its lock. So a tab that hears nothing for two to three and a half heartbeats, or comes to the front,
//   asks for a word; without an answer within 2 s it steals the lock, and the leader, once it wakes up, finds that out and
//   ends its stream. Where Web Locks or BroadcastChannel are missing (an insecure origin, an old browser), each
//   tab has its own stream.

/** How urgent a notification is, as its publisher said. */
export type Severity = "low" | "medium" | "high" | "critical";

/** The public part of a notification. It does not say who else was told. */
export interface Notification<Data = unknown> {
  /** UUID v7; the same in every tab and on every device. */
  notificationId: string;
  /** Up to 4,096 characters of plain text: show it as text, never as HTML. */
  message: string;
  title?: string;
  details?: string;
  severity: Severity;
  module?: string;
  actionType?: string;
  /** http, https or relative. */
  link?: string;
  /** Whatever JSON the publisher attached. */
  data?: Data;
  createdAt?: string | number;
}

/** What the hub says when a stream begins. */
export interface ConnectionInfo {
  userId: string;
  connectionId: string;
  /** Milliseconds since 1970, by the hub's clock. */
  timestamp: number;
  roles: string[];
  /** Whether the stream goes on from the last id, with nothing missing before it but what `broadcastsMissed` says. */
  recovered?: boolean;
  heartbeatSeconds?: number;
  /** Broadcasts were pruned while this client was away. */
  broadcastsMissed?: boolean;
}

/** The number of unread notifications, exact to 1,000. */
export type Unread = number | "1000+";

/** A notification as the inbox lists it. */
export interface InboxItem<Data = unknown> extends Notification<Data> {
  eventId: string;
  read: boolean;
}

/** The newest page of the inbox. */
export interface Inbox<Data = unknown> {
  /** At most 100, newest first. */
  notifications: InboxItem<Data>[];
  unread: Unread;
  /** Where the next page begins (`GET …/notifications?before=`), or null. */
  nextCursor: string | null;
}

/**
 * The stream could not go on without a break: too much was missed, or part of it is no longer kept (`inbox`), or the log is
 * a new one (`epoch`). The client has then fetched the inbox. What it holds that is unread and was not seen on this page has
 * been handed to `onNotification`, oldest first; the page of the inbox itself stands here, for whoever shows a list.
 *
 * Broadcasts have no inbox. Those that were missed are gone.
 */
export interface Gap<Data = unknown> extends Partial<Inbox<Data>> {
  scope: "inbox" | "epoch";
  /** Missing, as `unread` and `nextCursor` are, if five tries to fetch the inbox failed; `onError` said why. */
  notifications?: InboxItem<Data>[];
}

/**
 * - `connecting`: asking for a token, sending the request, or waiting for the hub's first word
 * - `open`: the hub has said `connected`
 * - `waiting`: it will try again by itself
 * - `closed`: by `close()`, or for good after a fatal error; only `reconnect()` changes that
 */
export type State = "connecting" | "open" | "waiting" | "closed";

/**
 * A change of state. `waiting` may follow `waiting`, with a new delay. In a tab that shares another's stream it is the
 * state of that stream.
 */
export interface StateChange {
  state: State;
  /** With `waiting`: how long (ms), unless the page wakes or the network returns before. */
  retryInMs?: number;
  /**
   * With `waiting`: the error's code or the hub's reason for its `bye` (`draining`, `reauth`, `busy`, …). With `closed`:
   * `close` or `unauthorized`.
   */
  reason?: string;
  /** Only in the tab that holds the stream. */
  error?: CampanileError;
}

/** What goes over the wire: one JSON object for each event. */
export interface WireMessage {
  type: string;
  timestamp: number;
  notificationId?: string;
  userId?: string;
  connectionId?: string;
  data?: unknown;
}

export type ErrorCode =
  /** 401, and again after `getToken` was asked once more. Fatal for the stream. */
  | "unauthorized"
  /** Any other status that is no success; see `status`. */
  | "status"
  /** 200, but not `text/event-stream`: a sign-in page, a proxy's apology. */
  | "not-a-stream"
  /** No connection, or one that broke. */
  | "network"
  /** The stream ended without a `bye`. */
  | "ended"
  /** Two heartbeats did not come. */
  | "silent"
  /** `getToken` threw or rejected; see `cause`. */
  | "token"
  /** The inbox could not be fetched after a gap; see `cause`. It is tried five times, then `onGap` comes without it. */
  | "inbox"
  /** An event that is no JSON (it is skipped) or longer than 1 MiB (the stream is begun again). */
  | "malformed";

/** What went wrong. Unless `fatal`, the client goes on by itself, and this is for information. */
export declare class CampanileError extends Error {
  constructor(
    code: ErrorCode,
    message: string,
    details?: { status?: number; retryAfterMs?: number; fatal?: boolean; cause?: unknown },
  );
  readonly code: ErrorCode;
  /** What the hub answered, if that was the trouble. */
  readonly status?: number;
  readonly cause?: unknown;
  /** What `Retry-After` asked for (ms, at most ten minutes), or 0. */
  readonly retryAfterMs: number;
  readonly fatal: boolean;
}

/** What the desktop shows: the browser's own options, and a title. */
export interface DesktopNotification extends NotificationOptions {
  title: string;
}

/** Handlers are called in order, one event at a time. One that throws is reported and does not stop the stream. */
export interface ConnectOptions<Data = unknown> {
  /**
   * The stream, absolute or relative to the page. Default `/notifications/stream`. The hub's other routes are taken to stand
   * beside it: `…/{id}/read`, `…/read-all`, `…?limit=`, `…/stream/ticket`.
   */
  url?: string | URL;
  /** Sent as `Authorization: Bearer`. Without it and `getToken`, the page's cookies speak for the user. */
  token?: string;
  /**
   * Asked before every attempt to connect, and after a 401; `refused` is true when the last answer was 401. Wins over `token`.
   * Must answer for the user that the page is signed in as; after somebody else has signed in, call `reconnect()`.
   */
  getToken?: (why: { refused: boolean }) => string | null | undefined | Promise<string | null | undefined>;
  /** Send cookies to a hub of another origin, too (which must name this one). Default false: only to the page's own. */
  withCredentials?: boolean;
  /**
   * `fetch`, the default, needs nothing else. `eventsource` uses the browser's EventSource, for where a stream cannot be read
   * through `fetch` or a header cannot be sent: each attempt asks for a ticket (`POST …/stream/ticket`, with the token or
   * the cookie), which opens one stream within 30 s. `retry:` is then not seen.
   */
  transport?: "fetch" | "eventsource";
  /** One stream for all tabs of this user (see the top of this file). Default true. */
  shared?: boolean;
  /** Where to go on from. Printable ASCII, else `connect` throws a TypeError. Wins over what `persist` has kept. */
  lastEventId?: string;
  /**
   * Keep the last id in `localStorage`, by URL and user, so that a reload or another tab goes on from there. Default true. When
   * it turns out to be another user's, it is dropped, and the stream begun anew.
   */
  persist?: boolean;
  /**
   * Show notifications on the desktop as well: by one tab only, and only while no tab of this user is visible; of a burst
   * (within 2 s), the newest. True for title and text as they came, or a function that says what to show, or null for
   * nothing. A click brings the tab to the front and opens the notification's link in a new one.
   *
   * The browser's permission must have been given: ask for it when the user clicks something,
   * with `Notification.requestPermission()`. The client never asks by itself. (Chrome on Android lets no page show any.)
   */
  desktopNotifications?: true | ((notification: Notification<Data>) => DesktopNotification | null | undefined);
  /** Called once for each notification, although the hub may send one twice (the newest 1,000 are recognised). */
  onNotification?: (notification: Notification<Data>, message: WireMessage) => void;
  onConnected?: (info: ConnectionInfo, message: WireMessage) => void;
  onStatus?: (status: { unread?: Unread }, message: WireMessage) => void;
  onGap?: (gap: Gap<Data>, message: WireMessage) => void;
  onHeartbeat?: (heartbeat: { timestamp: number }, message: WireMessage) => void;
  onState?: (change: StateChange) => void;
  onError?: (error: CampanileError) => void;
}

/** The event behind a handler's call: `detail` is the handler's first argument, `message` its second. */
export interface CampanileEvent<Detail> extends CustomEvent<Detail> {
  readonly message: WireMessage | undefined;
}

/** The events of a `Connection`, by name. */
export interface ConnectionEventMap<Data = unknown> {
  notification: CampanileEvent<Notification<Data>>;
  connected: CampanileEvent<ConnectionInfo>;
  status: CampanileEvent<{ unread?: Unread }>;
  gap: CampanileEvent<Gap<Data>>;
  heartbeat: CampanileEvent<{ timestamp: number }>;
  state: CampanileEvent<StateChange>;
  error: CampanileEvent<CampanileError>;
}

/** A stream that is kept open. Made by `connect`. */
export interface Connection<Data = unknown> extends EventTarget {
  readonly state: State;
  /** What the hub said at the last `connected`, to this tab or to the one that holds the stream; null before the first. */
  readonly info: ConnectionInfo | null;
  /** As of the last `status`; null before the first. */
  readonly unread: Unread | null;
  /** The id from which a new stream would go on; within a handler, that of the event being handled. */
  readonly lastEventId: string;
  /** Ends it in this tab; others go on. Nothing is received afterwards, until `reconnect()`. */
  close(): void;
  /**
   * Connects anew at once, from the last id, with credentials asked anew: after `close()`, after a fatal error, after
   * somebody has signed in, or instead of waiting.
   */
  reconnect(): void;
  /** Fetches the newest page of the inbox. Rejects with a CampanileError. */
  inbox(): Promise<Inbox<Data>>;
  /** Marks one read. Rejects with a CampanileError; 404 if it is not in the user's inbox. `status` tells the new count. */
  markRead(notificationId: string): Promise<void>;
  /** Marks all read: up to an event id (such as `lastEventId`), so that what came meanwhile stays unread; or all there are. */
  markAllRead(upTo?: string): Promise<void>;
  addEventListener<Type extends keyof ConnectionEventMap>(
    type: Type,
    listener: ((event: ConnectionEventMap<Data>[Type]) => void) | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
  removeEventListener<Type extends keyof ConnectionEventMap>(
    type: Type,
    listener: ((event: ConnectionEventMap<Data>[Type]) => void) | null,
    options?: boolean | EventListenerOptions,
  ): void;
  removeEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | EventListenerOptions,
  ): void;
}

/** Opens the caller's stream and keeps it open until `close()`. Throws a TypeError for an unusable `url` or `lastEventId`. */
export declare function connect<Data = unknown>(options?: ConnectOptions<Data>): Connection<Data>;

/** One event of an event stream. */
export interface StreamEvent {
  type: string;
  data: string;
  lastEventId: string;
}

/** Event-stream syntax (WHATWG HTML 9.2.6), for text that arrives cut anywhere. */
export declare class EventStreamParser {
  constructor(lastEventId?: string);
  /** The last `retry:` (ms, at most ten minutes); undefined before the first. */
  retry: number | undefined;
  /** The id of the last event, as it stood when that event was complete. */
  lastEventId: string;
  /** Takes decoded text in and yields the events that it completes. Throws a CampanileError past 1 MiB. */
  push(text: string): Generator<StreamEvent, void, undefined>;
}
