// Types of campanile.js. What a field means on the wire is the hub's contract; what the client makes of it stands here.

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

/** The stream could not go on without a break: `inbox` asks to fetch the inbox again, `epoch` means a new log. */
export interface Gap {
  scope: "inbox" | "epoch";
}

/**
 * - `connecting`: asking for a token, sending the request, or waiting for the hub's first word
 * - `open`: the hub has said `connected`
 * - `waiting`: it will try again by itself
 * - `closed`: by `close()`, or for good after a fatal error; only `reconnect()` changes that
 */
export type State = "connecting" | "open" | "waiting" | "closed";

/** A change of state. `waiting` may follow `waiting`, with a new delay. */
export interface StateChange {
  state: State;
  /** With `waiting`: how long (ms), unless the page wakes or the network returns before. */
  retryInMs?: number;
  /** With `waiting`: the error's code or the hub's reason for its `bye` (`draining`, `reauth`, `busy`, …). */
  reason?: string;
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
  /** 401 twice in a row. Fatal. */
  | "unauthorized"
  /** Any status but 200; see `status`. */
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
  /** An event that is no JSON (it is skipped) or longer than 1 MiB (the stream is begun again). */
  | "malformed";

/** What went wrong. Unless `fatal`, the client goes on by itself, and this is for information. */
export declare class CampanileError extends Error {
  constructor(
    code: ErrorCode,
    message: string,
    options?: { status?: number; retryAfterMs?: number; fatal?: boolean; cause?: unknown },
  );
  readonly code: ErrorCode;
  readonly status: number | undefined;
  /** What `Retry-After` asked for (ms, at most ten minutes), or 0. */
  readonly retryAfterMs: number;
  readonly fatal: boolean;
}

/** Handlers are called in order, one event at a time. One that throws is reported and does not stop the stream. */
export interface ConnectOptions<Data = unknown> {
  /** Absolute, or relative to the page. Default `/notifications/stream`. */
  url?: string | URL;
  /** Sent as `Authorization: Bearer`. Without it and `getToken`, the page's same-origin cookies speak for the user. */
  token?: string;
  /** Asked before every attempt; `refused` is true when the last answer was 401. Wins over `token`. */
  getToken?: (why: { refused: boolean }) => string | null | undefined | Promise<string | null | undefined>;
  /** Where to go on from. Printable ASCII, else `connect` throws a TypeError. Wins over what `persist` has kept. */
  lastEventId?: string;
  /** Keep the last id in `localStorage`, by URL and user, so that a reload goes on from there. Default false. */
  persist?: boolean;
  /** Called once for each notification, although the hub may send one twice (the newest 1,000 are recognised). */
  onNotification?: (notification: Notification<Data>, message: WireMessage) => void;
  onConnected?: (info: ConnectionInfo, message: WireMessage) => void;
  onStatus?: (status: { unread?: Unread }, message: WireMessage) => void;
  onGap?: (gap: Gap, message: WireMessage) => void;
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
  gap: CampanileEvent<Gap>;
  heartbeat: CampanileEvent<{ timestamp: number }>;
  state: CampanileEvent<StateChange>;
  error: CampanileEvent<CampanileError>;
}

/** A stream that is kept open. Made by `connect`. */
export interface Connection<Data = unknown> extends EventTarget {
  readonly state: State;
  /** What the hub said at the last `connected`; null before the first. */
  readonly info: ConnectionInfo | null;
  /** As of the last `status`; null before the first. */
  readonly unread: Unread | null;
  /** The id from which a new stream would go on; within a handler, that of the event being handled. */
  readonly lastEventId: string;
  /** Ends the stream for good. */
  close(): void;
  /** Connects anew at once, from the last id. */
  reconnect(): void;
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
