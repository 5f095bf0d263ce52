import type { CampanileError } from "campanile";
import { useNotificationSSE } from "campanile/react";
import { useState } from "react";

/** Whether the page is connected, as whom, and what to do if it is not and will not be. */
export function Connection() {
  const [error, setError] = useState<CampanileError>();
  const { isConnected, connectionInfo, reconnect } = useNotificationSSE({
    onConnected: () => setError(undefined),
    onError: setError,
  });

  return (
    <div className="connection" data-connected={isConnected}>
      <span role="status">{isConnected ? `Live as ${connectionInfo?.userId}` : "Connecting…"}</span>
      {error && (
        <span className="problem" role="alert">
          {error.message} {error.fatal && <button onClick={reconnect}>Try again</button>}
        </span>
      )}
    </div>
  );
}
