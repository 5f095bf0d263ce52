import { type ListedNotification, useNotificationSSE } from "campanile/react";
import { useEffect, useId, useRef, useState } from "react";

import { ago } from "./ago";
import { BellIcon, CheckIcon } from "./icons";

/** A bell with the number of what is unread, and behind it the list. */
export function Bell() {
  const { unread, notifications, markRead, markAllRead } = useNotificationSSE();
  const [open, setOpen] = useState(false);
  const id = useId();
  const bell = useRef<HTMLButtonElement>(null);
  const panel = useRef<HTMLDivElement>(null);

  // Opened, the list has the keyboard; a click elsewhere or Escape closes it, and the bell has the keyboard again.
  useEffect(() => {
    if (!open) return;
    panel.current?.focus();
    const close = (event: Event) => {
      const inside = event.target instanceof Node && panel.current?.parentElement?.contains(event.target);
      if (!inside) setOpen(false);
    };
    document.addEventListener("pointerdown", close);
    document.addEventListener("focusin", close);
    return () => {
      document.removeEventListener("pointerdown", close);
      document.removeEventListener("focusin", close);
    };
  }, [open]);

  const count = typeof unread === "number" && unread < 100 ? unread : "99+";
  return (
    <div
      className="bell"
      onKeyDown={(event) => {
        if (event.key !== "Escape" || !open) return;
        setOpen(false);
        bell.current?.focus();
      }}
    >
      <button
        ref={bell}
        className="icon"
        aria-label={unread ? `Notifications, ${unread} unread` : "Notifications"}
        aria-expanded={open}
        aria-controls={id}
        onClick={() => setOpen(!open)}
      >
        <BellIcon />
        {unread ? <span className="count">{count}</span> : null}
      </button>
      {open && (
        <div id={id} ref={panel} className="panel" role="dialog" aria-label="Notifications" tabIndex={-1}>
          <div className="head">
            <h2>Notifications</h2>
            <button
              className="plain"
              disabled={!unread}
              onClick={() => {
                markAllRead();
                panel.current?.focus(); // the button is about to be disabled
              }}
            >
              Mark all read
            </button>
          </div>
          {notifications.length === 0 && <p className="empty">Nothing yet. You will hear the bell.</p>}
          <ul>
            {notifications.map((notification) => (
              <Item
                key={notification.notificationId}
                notification={notification}
                markRead={() => markRead(notification.notificationId)}
              />
            ))}
          </ul>
        </div>
      )}
    </div>
  );
}

function Item({ notification, markRead }: { notification: ListedNotification; markRead: () => void }) {
  const { title, message, severity, link, createdAt, read } = notification;
  const item = useRef<HTMLLIElement>(null);
  return (
    <li ref={item} tabIndex={-1} data-severity={severity} data-read={read}>
      <div className="text">
        {title && <strong>{title}</strong>}
        {/* Text from elsewhere is shown as text. React escapes it; never set it as HTML. */}
        <p>{link ? <a href={link}>{message}</a> : message}</p>
        <small>
          <span className="severity">{severity}</span>
          <time dateTime={String(createdAt)}>{ago(createdAt)}</time>
        </small>
      </div>
      {!read && (
        <button
          className="icon"
          aria-label={`Mark as read: ${title ?? message}`}
          title="Mark as read"
          onClick={() => {
            markRead();
            item.current?.focus(); // the button is about to go
          }}
        >
          <CheckIcon />
        </button>
      )}
    </li>
  );
}
