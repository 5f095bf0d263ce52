import type { Notification } from "campanile";
import { useNotificationSSE } from "campanile/react";
import { useEffect, useState } from "react";

import { CrossIcon } from "./icons";

/** How many are shown at once; what is pushed out is behind the bell. */
const MAX_SHOWN = 4;
/** How long one stays that is not urgent (ms). */
const SHOWN_MS = 6_000;

const isUrgent = ({ severity }: Notification) => severity === "high" || severity === "critical";

/** What has just come, in a corner. What is urgent interrupts a screen reader and stays until it is dismissed. */
export function Toasts() {
  const [shown, setShown] = useState<Notification[]>([]);
  useNotificationSSE({
    onNotification: (notification) => setShown((shown) => [...shown, notification].slice(-MAX_SHOWN)),
  });

  const toasts = (wanted: Notification[]) =>
    wanted.map((notification) => (
      <Toast
        key={notification.notificationId}
        notification={notification}
        dismiss={() => setShown((shown) => shown.filter((other) => other !== notification))}
      />
    ));
  return (
    <section className="toasts" aria-label="New notifications">
      <ol aria-live="assertive" aria-relevant="additions">
        {toasts(shown.filter(isUrgent))}
      </ol>
      <ol aria-live="polite" aria-relevant="additions">
        {toasts(shown.filter((notification) => !isUrgent(notification)))}
      </ol>
    </section>
  );
}

function Toast({ notification, dismiss }: { notification: Notification; dismiss: () => void }) {
  const { title, message, severity } = notification;
  const [held, setHeld] = useState(false);
  const stays = held || isUrgent(notification);
  useEffect(() => {
    if (stays) return;
    const timer = setTimeout(dismiss, SHOWN_MS);
    return () => clearTimeout(timer);
    // Each render brings another `dismiss`, which is no reason to begin anew.
  }, [stays]);

  const [hold, release] = [() => setHeld(true), () => setHeld(false)];
  return (
    <li data-severity={severity} onPointerEnter={hold} onPointerLeave={release} onFocus={hold} onBlur={release}>
      <div className="text">
        {title && <strong>{title}</strong>}
        <p>{message}</p>
        <small>
          <span className="severity">{severity}</span>
        </small>
      </div>
      <button className="icon" aria-label={`Dismiss: ${title ?? message}`} title="Dismiss" onClick={dismiss}>
        <CrossIcon />
      </button>
    </li>
  );
}
