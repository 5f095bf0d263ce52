// What a page may write, in TypeScript: this must compile under --strict.

import {
  CampanileError,
  EventStreamParser,
  connect,
  type Connection,
  type ConnectionInfo,
  type ConnectOptions,
  type ErrorCode,
  type Gap,
  type InboxItem,
  type Notification,
  type Severity,
  type State,
  type StateChange,
  type StreamEvent,
  type Unread,
  type WireMessage,
} from "campanile";

interface Order {
  orderId: number;
}

const say = (text: string, _severity?: Severity): void => void text;

const options: ConnectOptions<Order> = {
  url: new URL("https://hub.example/notifications/stream"),
  getToken: async ({ refused }) => (refused ? null : "token"),
  withCredentials: true,
  transport: "eventsource",
  shared: false,
  persist: true,
  lastEventId: "k3f9-1042",
  desktopNotifications: ({ title, message, data }) => (data ? { title: title ?? message, icon: "/bell.png" } : null),
  onNotification: ({ title, message, severity, data }, { timestamp, notificationId }) => {
    say(`${title ?? ""} ${message} ${data?.orderId.toFixed()} ${new Date(timestamp)} ${notificationId ?? ""}`, severity);
  },
  onConnected: ({ userId, roles }: ConnectionInfo) => say(userId + roles.join()),
  onStatus: ({ unread }) => say(`${unread}`),
  onGap: ({ scope, notifications, nextCursor }: Gap<Order>) => {
    const items: InboxItem<Order>[] = notifications ?? [];
    say(scope + items.filter(({ read }) => !read).map(({ eventId, data }) => eventId + data?.orderId) + nextCursor);
  },
  onHeartbeat: ({ timestamp }) => say(timestamp.toFixed()),
  onState: ({ state, retryInMs, reason, error }: StateChange) => say(state + retryInMs + reason + error?.code),
  onError: (error) => {
    const code: ErrorCode = error.code;
    const status: number | undefined = error.status;
    if (error.fatal) throw error;
    say(`${code} ${status} ${error.retryAfterMs.toFixed()} ${error.message} ${String(error.cause)}`);
  },
};

const connection: Connection<Order> = connect(options);
const state: State = connection.state;
const unread: Unread | null = connection.unread;
const info: ConnectionInfo | null = connection.info;
say(`${state} ${unread} ${info?.heartbeatSeconds} ${connection.lastEventId}`);

connection.addEventListener("notification", ({ detail, message }) => {
  const notification: Notification<Order> = detail;
  const wire: WireMessage | undefined = message;
  say(notification.message + wire?.type);
});
connection.addEventListener("gap", ({ detail }) => say(detail.scope));
connection.addEventListener("anything", (event) => say(event.type), { once: true });
connection.removeEventListener("error", null);

async function read(id: string): Promise<void> {
  try {
    const { notifications, unread, nextCursor } = await connection.inbox();
    say(`${notifications[0]?.data?.orderId} ${unread} ${nextCursor}`);
    await connection.markRead(id);
    await connection.markAllRead();
    await connection.markAllRead(connection.lastEventId);
  } catch (error) {
    if (error instanceof CampanileError && error.status === 404) say("gone");
  }
}
void read("id");
connection.reconnect();
connection.close();

// Without options: the page's own hub, and its cookie.
connect();
connect({ token: "token", desktopNotifications: true, getToken: () => undefined });

const parser = new EventStreamParser("k3f9-1");
const events: StreamEvent[] = [...parser.push("data: x\n\n")];
say(`${events[0]?.data} ${parser.retry?.toFixed()} ${parser.lastEventId}`);
