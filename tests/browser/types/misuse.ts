// What a page must not write: each of these is an error to the compiler, and would be one if it were none.

import { CampanileError, connect, type Severity } from "campanile";

const connection = connect<{ orderId: number }>();

// @ts-expect-error an option that does not exist
connect({ onNotifications: () => {} });
// @ts-expect-error a token is text
connect({ token: 42 });
// @ts-expect-error a token may come later, but must be text
connect({ getToken: async () => 42 });
// @ts-expect-error there are two transports
connect({ transport: "websocket" });
// @ts-expect-error off is no way to show them
connect({ desktopNotifications: "always" });
// @ts-expect-error a handler is a function
connect({ onGap: "reload" });
// @ts-expect-error the state is the client's to change
connection.state = "open";
// @ts-expect-error so is the count
connection.unread = 0;
// @ts-expect-error it may not be known yet
connection.info.userId;
// @ts-expect-error a notification is marked by its id
connection.markRead();
// @ts-expect-error an event id is text
connection.markAllRead(7);
// @ts-expect-error there are four severities
const severity: Severity = "urgent";
// @ts-expect-error a code is one of a list
new CampanileError("teapot", "no");
connection.addEventListener("notification", ({ detail }) => {
  // @ts-expect-error data may be missing
  detail.data.orderId;
  // @ts-expect-error receivers do not learn who else was told
  detail.targetUserIds;
});
void severity;
