import type { Severity } from "campanile";
import { useNotificationSSE } from "campanile/react";
import { type FormEvent, useState } from "react";

const SEVERITIES: Severity[] = ["low", "medium", "high", "critical"];

/** Something to see. In an application this is your backend's request, and no page has the right to publish. */
export function Publish() {
  const { connectionInfo } = useNotificationSSE();
  const [message, setMessage] = useState("Order #123 has left the house");
  const [severity, setSeverity] = useState<Severity>("medium");
  const [refused, setRefused] = useState<string>();

  async function publish(event: FormEvent) {
    event.preventDefault();
    setRefused(undefined);
    try {
      const response = await fetch("/notifications", {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ targetUserId: connectionInfo?.userId, message, severity }),
      });
      if (!response.ok) setRefused((await response.json()).detail);
    } catch (error) {
      setRefused(`The hub did not answer: ${error}`);
    }
  }

  return (
    <form className="card" onSubmit={publish}>
      <h2>Ring the bell</h2>
      <p>This sends a notification to yourself. Open a second tab: both have it, over one connection.</p>
      <label>
        Message
        <input value={message} onChange={(event) => setMessage(event.target.value)} required maxLength={4096} />
      </label>
      <fieldset>
        <legend>Severity</legend>
        {SEVERITIES.map((each) => (
          <label key={each} data-severity={each}>
            <input type="radio" name="severity" checked={each === severity} onChange={() => setSeverity(each)} />
            <span className="severity">{each}</span>
          </label>
        ))}
      </fieldset>
      <button className="primary" disabled={!connectionInfo}>
        Send
      </button>
      {refused && <p role="alert">{refused}</p>}
    </form>
  );
}
