// A page as it stood: the hook, a list in a state of its own, and buttons that POST to the one path with the page's cookie.

import { StrictMode, useState } from "react";
import { createRoot } from "react-dom/client";

import { useNotificationSSE } from "./use-notification-sse";

function Page() {
  const [list, setList] = useState([]);
  const [user, setUser] = useState("");
  const [answer, setAnswer] = useState("");
  const { isConnected, connectionInfo, reconnect } = useNotificationSSE({
    onConnected: ({ userId }) => setUser(userId),
    onNotification: ({ notificationId, message, details, severity, module, actionType }) =>
      setList((list) =>
        list.some((known) => known.notificationId === notificationId)
          ? list
          : [{ notificationId, text: [severity, module, actionType, message, details].join("|") }, ...list],
      ),
    onError: () => {},
  });

  async function post(form) {
    const response = await fetch("/api/notifications/ws", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ timestamp: Date.now(), ...form }),
    });
    setAnswer(`${response.status} ${JSON.stringify(await response.json())}`);
  }

  return (
    <main>
      <p>{isConnected && connectionInfo ? `connected as ${user}` : "not connected"}</p>
      <button onClick={reconnect}>reconnect</button>
      <button onClick={() => post({ action: "test", message: "a test" })}>test</button>
      <button onClick={() => post({ action: "broadcast", message: "to all", type: "info", userRole: "ADMIN" })}>broadcast</button>
      <button onClick={() => post({ action: "status" })}>status</button>
      <output>{answer}</output>
      <ul>
        {list.map(({ notificationId, text }) => (
          <li key={notificationId}>{text}</li>
        ))}
      </ul>
    </main>
  );
}

createRoot(document.getElementById("root")).render(
  <StrictMode>
    <Page />
  </StrictMode>,
);
