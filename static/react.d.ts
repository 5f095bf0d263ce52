// Types of react.js. What goes over the wire, and the options that are not the hook's own, stand in campanile.d.ts.

import type { ConnectionInfo, ConnectOptions, Notification, Unread, WireMessage } from "./campanile.js";

/**
 * Those of `connect`, and `limit`.
 *
 * Components whose `url`, `token`, `withCredentials`, and whether there is a `getToken`, are the same share one
 * connection. Of what else they say, that of the first counts; a function, such as `getToken`, is asked as the component
 * gave it that came last. Handlers are each component's own, and always those of its last render: they need no
 * `useCallback`.
 */
export interface UseNotificationSSEOptions<Data = unknown> extends Omit<ConnectOptions<Data>, "onConnected"> {
  /** The most notifications that are kept, newest first: 0 to 1,000, default 200. With 0 the inbox is not read. */
  limit?: number;
  /** Also called, without `message`, in a component that comes when there is a connection already. */
  onConnected?: (info: ConnectionInfo, message?: WireMessage) => void;
}

/** A notification of the list. */
export interface ListedNotification<Data = unknown> extends Readonly<Notification<Data>> {
  /** If it came out of the inbox. */
  readonly eventId?: string;
  /** Whether it has been read, here or elsewhere; at once true while the hub is asked to mark it. */
  readonly read: boolean;
}

/** What the hook gives, and on a server: nothing yet. */
export interface NotificationSSE<Data = unknown> {
  readonly isConnected: boolean;
  /** What the hub said at the last `connected`; null before the first. It stays while the connection is away. */
  readonly connectionInfo: ConnectionInfo | null;
  /**
   * Connects anew at once, with credentials asked anew: after a fatal error, or when somebody else has signed in by the same
   * cookie or `getToken`. (Another `token` is another connection by itself.)
   */
  readonly reconnect: () => void;
  /** How many of the inbox are unread, not only of the list; null before the hub has said so. */
  readonly unread: Unread | null;
  /**
   * The newest of the inbox, at most 100, and what has come since: by time, newest first, each once. Broadcasts are in it,
   * which no inbox has; what is ephemeral is not, and only `onNotification` hears of it.
   */
  readonly notifications: readonly ListedNotification<Data>[];
  /**
   * Marks one read, at once on this page, on all others as the hub tells them. If the hub refuses, the page takes it back,
   * `onError` hears of it, and the promise rejects; whoever does not wait for it causes no unhandled rejection. One that
   * is in no inbox, such as a broadcast, is read on this page only.
   */
  readonly markRead: (notificationId: string) => Promise<void>;
  /** The same for all that this page has received. */
  readonly markAllRead: () => Promise<void>;
}

/**
 * The caller's notifications, live, and the inbox before them. If the hub's inbox cannot be read, `onError` says so and the
 * list has what the stream brings.
 *
 * Throws a RangeError for an unusable `limit`, and what `connect` throws.
 */
export declare function useNotificationSSE<Data = unknown>(options?: UseNotificationSSEOptions<Data>): NotificationSSE<Data>;
