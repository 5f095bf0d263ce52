// The list behind the bell: the inbox, what came since, and what has been read.

import { afterAll, afterEach, beforeEach, describe, expect, test } from "vitest";

import { Bell, render, unmountAll, until } from "./page.jsx";
import { ScriptedHub, closeAll, item } from "./scripted-hub.mjs";

let hub;
let errors;
let promises;

beforeEach(async () => {
  hub = await ScriptedHub.start();
  errors = [];
  promises = [];
});

afterEach(unmountAll);

afterAll(() => closeAll(until));

const bell = (options) => (
  <Bell url={hub.url} onError={(error) => errors.push(error)} onPromise={(promise) => promises.push(promise)} {...options} />
);

/** Waits until the page shows what is expected. If it does not, `onError` may have been told why. */
async function shows(page, expected, name) {
  try {
    await until(() => expect(page.shows(name)).toMatchObject(expected));
  } catch (error) {
    throw new Error(`${error.message}\n${errors.map(({ message, cause }) => `${message} ${cause?.stack}`)}`, { cause: error });
  }
}

/** A page that shows these of the inbox, and the count. */
async function opened(notifications, { unread = notifications.filter(({ read }) => !read).length, ...options } = {}) {
  hub.inbox = { notifications, unread, nextCursor: null };
  const page = render(bell(options));
  await shows(page, { isConnected: true, messages: notifications.map(({ message, read }) => (read ? message : `${message}*`)) });
  hub.send("status", { unread });
  await shows(page, { unread });
  return page;
}

/** A promise and what settles it. */
function deferred() {
  let resolve;
  const promise = new Promise((done) => (resolve = done));
  return { promise, resolve };
}

describe("the list", () => {
  test("begins with the inbox and goes on live, by time, newest first, each once", async () => {
    const page = await opened([item(3), item(2, { read: true }), item(1)]);
    hub.notify(3);
    hub.notify(5);
    hub.notify(4);
    hub.notify(5);
    await shows(page, { messages: ["m5*", "m4*", "m3*", "m2", "m1*"] });
    expect(hub.count("GET /notifications")).toBe(1);
  });

  test("has each once that came while the inbox was asked, with the inbox's word on whether it is read", async () => {
    const answer = deferred();
    hub.inbox = answer.promise;
    const page = render(bell());
    await shows(page, { isConnected: true });
    hub.notify(2);
    hub.notify(3);
    await shows(page, { messages: ["m3*", "m2*"] });
    answer.resolve({ notifications: [item(2, { read: true }), item(1)], unread: 1, nextCursor: null });
    await shows(page, { messages: ["m3*", "m2", "m1*"] });
  });

  test("keeps the newest `limit`, and no more of 2,000", async () => {
    const page = await opened([item(2), item(1)]);
    for (let n = 3; n <= 2_000; n++) hub.notify(n);
    await until(() => expect(page.shows().messages[0]).toBe("m2000*"));
    expect(page.shows().messages).toEqual(Array.from({ length: 200 }, (_, i) => `m${2_000 - i}*`));
  });

  test("has as many as each component asks for, also if it asks for more later", async () => {
    const inbox = [5, 4, 3, 2, 1].map((n) => item(n));
    hub.inbox = { notifications: inbox, unread: 5, nextCursor: null };
    const two = bell({ name: "two", limit: 2 });
    const page = render([<div key="two">{two}</div>]);
    await shows(page, { messages: ["m5*", "m4*"] }, "two");
    page.render([<div key="two">{two}</div>, <div key="four">{bell({ name: "four", limit: 4 })}</div>]);
    await shows(page, { messages: ["m5*", "m4*", "m3*", "m2*"] }, "four");
    expect(page.shows("two").messages).toEqual(["m5*", "m4*"]);
    expect(hub.streams).toHaveLength(1);
  });

  test("has let go of what was beyond the limit, also when more are asked for afterwards", async () => {
    hub.inbox = 404;
    const page = render(bell({ limit: 2 }));
    await until(() => expect(errors).toHaveLength(1));
    for (const n of [1, 2, 3]) hub.notify(n);
    await shows(page, { messages: ["m3*", "m2*"] });
    page.render(bell({ limit: 3, name: "three" }));
    await shows(page, { messages: ["m3*", "m2*"] }, "three");
    hub.notify(4);
    await shows(page, { messages: ["m4*", "m3*", "m2*"] }, "three");
  });

  test("is empty with a limit of 0, and asks nothing of the inbox", async () => {
    const heard = [];
    const page = render(bell({ limit: 0, onNotification: ({ message }) => heard.push(message) }));
    await shows(page, { isConnected: true });
    hub.notify(1);
    await until(() => expect(heard).toEqual(["m1"]));
    expect(page.shows().messages).toEqual([]);
    expect(hub.asked).toEqual([]);
  });

  test("does not keep what is ephemeral, which only its handler is told", async () => {
    const heard = [];
    const page = await opened([], { onNotification: ({ message }) => heard.push(message) });
    hub.notify(1);
    hub.notify(100, { ephemeral: true, message: "is typing" });
    hub.notify(2);
    await shows(page, { messages: ["m2*", "m1*"] });
    expect(heard).toEqual(["m1", "is typing", "m2"]);
  });

  test("keeps what was owed from before, which has no place in the stream either", async () => {
    const page = await opened([]);
    hub.notify(-1_000, { ephemeral: true, message: "owed" });
    await shows(page, { messages: ["owed*"] });
  });

  test("is another's when the hub says that the user is another", async () => {
    const page = await opened([item(1)], { unread: 5 });
    hub.userId = "7";
    hub.inbox = { notifications: [item(9, { message: "of 7" })], unread: 1, nextCursor: null };
    hub.cut();
    await shows(page, { messages: ["of 7*"], unread: null });
  });
});

describe("without an inbox", () => {
  for (const status of [404, 422, 500]) {
    test(`a ${status} is told, and the list has what the stream brings`, async () => {
      hub.inbox = status;
      const page = render(bell());
      await until(() => expect(errors).toHaveLength(1));
      expect(errors[0]).toMatchObject({ code: "inbox", status, fatal: false });
      expect(errors[0].message).toMatch(/inbox/);
      hub.notify(1);
      await shows(page, { isConnected: true, messages: ["m1*"] });
    });
  }

  test("it is asked again at the next connection", async () => {
    hub.inbox = 503;
    const page = render(bell());
    await until(() => expect(errors).toHaveLength(1));
    hub.inbox = { notifications: [item(1)], unread: 1, nextCursor: null };
    hub.cut();
    await shows(page, { messages: ["m1*"] });
  });
});

describe("after a gap", () => {
  test("the inbox is read anew", async () => {
    const page = await opened([item(1)]);
    hub.inbox = { notifications: [item(3), item(2, { read: true }), item(1, { read: true })], unread: 1, nextCursor: null };
    hub.send("gap", { scope: "inbox" }, { id: "e-3" });
    await shows(page, { messages: ["m3*", "m2", "m1"] });
  });
});

describe("marking read", () => {
  test("shows at once what the hub has yet to say, and asks it once", async () => {
    const answer = deferred();
    hub.mark = () => answer.promise;
    const page = await opened([item(2), item(1)]);
    page.press("first");
    await shows(page, { messages: ["m2", "m1*"], unread: 1 });
    page.press("first");
    await until(() => expect(hub.count("POST /notifications/n2/read")).toBe(1));
    answer.resolve(204);
    await Promise.all(promises);
    hub.send("status", { unread: 1 });
    hub.notify(3);
    await shows(page, { messages: ["m3*", "m2", "m1*"], unread: 1 });
    expect(hub.count("POST /notifications/n2/read")).toBe(1);
    expect(hub.count("GET /notifications")).toBe(1);
    expect(errors).toEqual([]);
  });

  test("is taken back if the hub refuses: onError hears of it, and the promise rejects", async () => {
    const answer = deferred();
    hub.mark = () => answer.promise;
    const page = await opened([item(2), item(1)]);
    page.press("first");
    await shows(page, { messages: ["m2", "m1*"], unread: 1 });
    answer.resolve(503);
    await shows(page, { messages: ["m2*", "m1*"], unread: 2 });
    await expect(promises[0]).rejects.toMatchObject({ code: "status", status: 503 });
    expect(errors).toEqual([await promises[0].catch((error) => error)]);
  });

  test("taken back, leaves the count that the hub told meanwhile", async () => {
    const answer = deferred();
    hub.mark = () => answer.promise;
    const page = await opened([item(1)]);
    page.press("first");
    await shows(page, { unread: 0 });
    hub.send("status", { unread: 5 });
    await shows(page, { unread: 5 });
    answer.resolve(500);
    await shows(page, { messages: ["m1*"], unread: 5 });
  });

  test("stays, without an error, for what is in no inbox, such as a broadcast", async () => {
    hub.mark = () => 404;
    const page = await opened([item(1)]);
    hub.notify(2, { message: "to all" });
    await shows(page, { messages: ["to all*", "m1*"] });
    page.press("first");
    await until(() => expect(promises).toHaveLength(1));
    await promises[0];
    await shows(page, { messages: ["to all", "m1*"], unread: 1 });
    expect(errors).toEqual([]);
  });

  test("counts down from 1000+ only as the hub does", async () => {
    const page = await opened([item(1)], { unread: "1000+" });
    page.press("first");
    await shows(page, { messages: ["m1"], unread: "1000+" });
    await Promise.all(promises);
  });

  test("all at once is up to the last that this page has received", async () => {
    const answer = deferred();
    hub.mark = () => answer.promise;
    const page = await opened([item(2), item(1)]);
    hub.notify(3);
    await shows(page, { messages: ["m3*", "m2*", "m1*"] });
    page.press("all");
    await shows(page, { messages: ["m3", "m2", "m1"], unread: 0 });
    await until(() => expect(hub.asked.at(-1)).toMatchObject({ path: "/notifications/read-all", body: { upTo: "e-3" } }));
    hub.notify(4);
    await shows(page, { messages: ["m4*", "m3", "m2", "m1"] });
    answer.resolve(204);
    await Promise.all(promises);
    await shows(page, { messages: ["m4*", "m3", "m2", "m1"] });
  });

  test("all at once is taken back if the hub refuses, but for what another mark holds", async () => {
    const answers = { "/notifications/n2/read": deferred(), "/notifications/read-all": deferred() };
    hub.mark = (path) => answers[path].promise;
    const page = await opened([item(2), item(1)]);
    page.press("first");
    await shows(page, { messages: ["m2", "m1*"], unread: 1 });
    page.press("all");
    await shows(page, { messages: ["m2", "m1"], unread: 0 });
    answers["/notifications/read-all"].resolve(500);
    await shows(page, { messages: ["m2", "m1*"], unread: 1 });
    answers["/notifications/n2/read"].resolve(204);
    await promises[0];
    await shows(page, { messages: ["m2", "m1*"], unread: 1 });
  });

  test("all at once is taken back where a 404 says that there is no such route", async () => {
    hub.mark = () => 404;
    const page = await opened([item(1)]);
    page.press("all");
    await until(() => expect(errors).toHaveLength(1));
    expect(errors[0]).toMatchObject({ status: 404 });
    await shows(page, { messages: ["m1*"], unread: 1 });
  });

  test("elsewhere is seen here: fewer are unread than are shown, so the inbox is asked which", async () => {
    const page = await opened([item(2), item(1)]);
    hub.inbox = { notifications: [item(2), item(1, { read: true })], unread: 1, nextCursor: null };
    hub.send("status", { unread: 1 });
    await shows(page, { messages: ["m2*", "m1"], unread: 1 });
    expect(hub.count("GET /notifications")).toBe(2);
  });

  test("elsewhere, while the inbox is being asked, has it asked once more", async () => {
    const page = await opened([item(2), item(1)]);
    const answer = deferred();
    hub.inbox = answer.promise;
    hub.send("status", { unread: 1 });
    await until(() => expect(hub.count("GET /notifications")).toBe(2));
    hub.send("status", { unread: 0 });
    await shows(page, { unread: 0 });
    hub.inbox = { notifications: [item(2, { read: true }), item(1, { read: true })], unread: 0, nextCursor: null };
    answer.resolve({ notifications: [item(2), item(1, { read: true })], unread: 1, nextCursor: null });
    await shows(page, { messages: ["m2", "m1"], unread: 0 });
    expect(hub.count("GET /notifications")).toBe(3);
  });
});
