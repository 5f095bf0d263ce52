// A notification as its receivers get it, wherever the console shows one.

import { el, roomLink, strangersLink, text } from "./dom.js";
import { to } from "./route.js";
import { tail } from "./words.js";

/** The four that there are; whatever else a hub may say is shown as the one between. */
const SEVERITIES = ["low", "medium", "high", "critical"];
export const severityOf = ({ severity }) => (SEVERITIES.includes(severity) ? severity : "medium");

/**
 * The parts of one, to be put into an element whose `data-severity` is {@link severityOf}.
 *
 * @param {object} notification the public part
 * @param {{heading: "h2"|"h3", time?: Node, foot?: any, mark?: any, linked?: boolean}} around
 *   `linked`: its id is a link to its story
 */
export function parts(notification, { heading, time, foot, mark, linked }) {
  const { notificationId, title, message, details, module, actionType, link, data, reference } = notification;
  const about = [module, actionType].filter(Boolean).join(" · ");
  const isolated = (tag, name, words) => words && el(tag, { class: name, dir: "auto" }, words);
  return [
    el(
      "div",
      { class: "line" },
      el("span", { class: "severity" }, severityOf(notification)),
      mark,
      about && el("span", { class: "about" }, text(about)),
      time,
    ),
    // Without a title there is no heading: a message may be long, and is no name.
    isolated(heading, "title", title),
    isolated("p", "message", message),
    isolated("p", "details", details),
    link && strangersLink(link, { class: "link" }),
    data !== undefined &&
      el("details", { class: "data" }, el("summary", {}, "Data"), el("pre", { tabindex: "0" }, JSON.stringify(data, null, 2))),
    el(
      "div",
      { class: "line meta" },
      reference && el("span", { class: "reference" }, reference),
      linked
        ? roomLink(to("deliveries", [notificationId]), el("code", { class: "id", title: notificationId }, tail(notificationId)))
        : el("code", { class: "id" }, notificationId),
      foot,
    ),
  ];
}
