// The storeys of the tower: each room's count, and a word about it.

import { el, fill } from "./dom.js";
import { age, count, many, span } from "./words.js";

const $ = (id) => document.getElementById(id);

/** Shows what is known; what is not, or not for this user, stays empty. */
export function showCounts({ status, fresh, diagnosis, overdue, endpoints }) {
  document.body.classList.toggle("stale", !fresh);
  if (!status) return;
  if (!status.hubs) {
    for (const id of ["failed", "waiting", "overdue", "endpoints"]) put(id, "", "");
    $("menu-alarm").hidden = true;
    put("streams", status.streams.own, status.streams.own === 1 ? "stream of yours" : "streams of yours");
    $("hub-note").textContent = fresh ? "" : "counts as they were";
    return;
  }
  const { hubs } = status;
  const sum = (read) => hubs.reduce((all, one) => all + read(one), 0);
  const total = sum((hub) => hub.streams.total);
  put("streams", total, `${total === 1 ? "stream" : "streams"} of ${many(sum((hub) => hub.streams.users), "user")}`);
  const failed = sum((hub) => hub.queue.failed);
  put("failed", failed, failed ? "failed" : "none failed");
  const waits = sum((hub) => hub.queue.depth + hub.queue.pending);
  const oldestMs = Math.max(...hubs.map((hub) => hub.queue.oldestMs));
  const alerts = diagnosis?.findings.filter(({ severity }) => severity === "alert").length ?? 0;
  const how = waits ? (oldestMs ? `oldest ${age(oldestMs)}` : "on its way") : "nothing waits";
  put("waiting", waits, alerts ? many(alerts, "alert") : how);
  $("waiting-note").classList.toggle("alarm", alerts > 0);
  // On a phone the storeys are folded away, and an alert must be seen all the same.
  $("menu-alarm").hidden = alerts === 0;
  fill($("menu-alarm"), el("span", { "aria-hidden": "true" }, alerts), el("span", { class: "unseen" }, many(alerts, "alert")));
  if (overdue !== null) put("overdue", overdue, overdue ? "overdue" : "none overdue");
  if (endpoints !== null) {
    const failing = endpoints.filter((one) => one.failingSince && one.enabled).length;
    const off = endpoints.filter((one) => !one.enabled).length;
    const trouble = [failing && `${failing} failing`, off && `${off} off`].filter(Boolean).join(", ");
    put("endpoints", endpoints.length, trouble || (endpoints.length ? "all well" : "none yet"));
    $("endpoints-note").classList.toggle("alarm", failing > 0);
  }
  const [first] = hubs;
  $("hub-note").textContent = fresh
    ? [
        hubs.length > 1 ? `${hubs.length} hubs` : `version ${first.version}`,
        `up ${span(first.uptimeSeconds * 1_000)}`,
        hubs.some(({ draining }) => draining) && "draining",
      ]
        .filter(Boolean)
        .join(" · ")
    : "counts as they were";
}

function put(id, n, note) {
  $(id).textContent = count(n);
  $(`${id}-note`).textContent = note;
}
