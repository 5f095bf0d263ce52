// A hook as applications wrote it for themselves: an EventSource on the one path, everything through `onmessage`.

import { useCallback, useEffect, useRef, useState } from "react";

const RETRY_MS = 1_000;

export function useNotificationSSE({ onNotification, onConnected, onError } = {}) {
  const [isConnected, setIsConnected] = useState(false);
  const [connectionInfo, setConnectionInfo] = useState(null);
  const source = useRef(null);
  const timer = useRef(null);
  const handlers = useRef({});
  handlers.current = { onNotification, onConnected, onError };

  const disconnect = useCallback(() => {
    clearTimeout(timer.current);
    source.current?.close();
    source.current = null;
  }, []);

  const connect = useCallback(() => {
    disconnect();
    const eventSource = new EventSource("/api/notifications/ws");
    source.current = eventSource;
    eventSource.onmessage = (event) => {
      const message = JSON.parse(event.data);
      switch (message.type) {
        case "connected":
          setIsConnected(true);
          setConnectionInfo(message);
          handlers.current.onConnected?.(message);
          break;
        case "notification":
          handlers.current.onNotification?.(message.data);
          break;
        case "heartbeat":
          break;
      }
    };
    eventSource.onerror = (error) => {
      setIsConnected(false);
      handlers.current.onError?.(error);
      disconnect();
      timer.current = setTimeout(connect, RETRY_MS);
    };
  }, [disconnect]);

  useEffect(() => {
    connect();
    return disconnect;
  }, [connect, disconnect]);

  return { isConnected, connectionInfo, reconnect: connect };
}
