// What the hook's types promise: checked by tsc --strict, never run. Each `@ts-expect-error` must be one.

import { connect, type CampanileError, type ConnectionInfo, type Inbox, type Unread } from "../../../static/campanile.js";
import { useNotificationSSE, type ListedNotification, type NotificationSSE } from "../../../static/react.js";

interface Order {
  orderId: number;
}

export function Bell() {
  const { isConnected, connectionInfo, unread, notifications, markRead, markAllRead, reconnect } = useNotificationSSE<Order>({
    url: new URL("https://hub.example/notifications/stream"),
    getToken: async ({ refused }) => (refused ? null : "token"),
    withCredentials: true,
    desktopNotifications: ({ title, message }) => ({ title: title ?? message }),
    limit: 50,
    onNotification: ({ message, severity, data }, { timestamp }) => {
      const order: number | undefined = data?.orderId;
      const urgency: "low" | "medium" | "high" | "critical" = severity;
      return [message.length, order, urgency, timestamp.toFixed()];
    },
    onConnected: (info: ConnectionInfo, message) => message?.type ?? info.userId,
    onError: (error: CampanileError) => error.fatal && error.status,
    onStatus: ({ unread }) => unread,
    onGap: ({ scope, notifications }) => [scope, notifications?.[0]?.data?.orderId],
    onState: ({ state }) => state === "open",
  });
  const connected: boolean = isConnected;
  const user: string | undefined = connectionInfo?.userId;
  const count: Unread | null = unread;
  const first: ListedNotification<Order> | undefined = notifications[0];
  const marked: Promise<void> = markRead(first?.notificationId ?? "");
  return (
    <button aria-busy={connected} title={`${user} ${count} ${marked}`} onClick={markAllRead} onDoubleClick={reconnect}>
      {notifications.map(({ read, message, eventId, data }) => `${read && message} ${eventId} ${data?.orderId}`)}
    </button>
  );
}

const withoutOptions: NotificationSSE = useNotificationSSE();
// @ts-expect-error: a list is replaced, never changed
withoutOptions.notifications.push();
// @ts-expect-error: so is what it holds
withoutOptions.notifications[0]!.read = true;
// @ts-expect-error: which one?
void withoutOptions.markRead();
// @ts-expect-error: misspelt
useNotificationSSE({ onNotifications: () => {} });
// @ts-expect-error: not a number
useNotificationSSE({ limit: "all" });

const inbox: Promise<Inbox> = connect().inbox();
void inbox;
