// What a page shows, for a test to read: each component in an element of its own, and waits that end as soon as they can.

import { createRoot } from "react-dom/client";
import { vi } from "vitest";

import { useNotificationSSE } from "../../../static/react.js";

const pages = [];

/** A page with this in it. */
export function render(element) {
  const container = document.body.appendChild(document.createElement("div"));
  const root = createRoot(container);
  const page = {
    container,
    render: (element) => root.render(element),
    unmount: () => root.unmount(),
    /** What a component shows: see `Bell`. */
    shows: (name = "bell") => JSON.parse(container.querySelector(`[data-name=${name}] output`)?.textContent ?? "null"),
    /** Presses one of its buttons. */
    press: (label, name = "bell") => container.querySelector(`[data-name=${name}] [aria-label=${label}]`).click(),
  };
  pages.push(page);
  page.render(element);
  return page;
}

/** Takes all pages away. */
export function unmountAll() {
  for (const page of pages.splice(0)) {
    page.unmount();
    page.container.remove();
  }
}

/** Waits until the assertions hold. */
export function until(assertions) {
  return vi.waitFor(assertions, { timeout: 60_000, interval: 20 });
}

/**
 * Shows what the hook gives: whether it is connected, the unread count, and the messages, unread ones with a star. What its
 * buttons begin goes to `onPromise`.
 */
export function Bell({ name = "bell", onPromise, ...options }) {
  const { isConnected, unread, notifications, markRead, markAllRead, reconnect } = useNotificationSSE(options);
  const messages = notifications.map(({ message, read }) => (read ? message : `${message}*`));
  const begin = (promise) => onPromise?.(promise);
  return (
    <section data-name={name}>
      <output>{JSON.stringify({ isConnected, unread, messages })}</output>
      <button aria-label="first" onClick={() => begin(markRead(notifications[0].notificationId))} />
      <button aria-label="all" onClick={() => begin(markAllRead())} />
      <button aria-label="reconnect" onClick={reconnect} />
    </section>
  );
}
