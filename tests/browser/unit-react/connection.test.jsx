// One connection, whatever React does with the components that use it.

import { Component, StrictMode, useLayoutEffect, useState, version } from "react";
import { version as domVersion } from "react-dom";
import { hydrateRoot } from "react-dom/client";
import { renderToString } from "react-dom/server";
import { afterAll, afterEach, beforeEach, describe, expect, test, vi } from "vitest";

import { Bell, render, unmountAll, until } from "./page.jsx";
import { ScriptedHub, closeAll } from "./scripted-hub.mjs";

let hub;

beforeEach(async () => {
  hub = await ScriptedHub.start();
});

afterEach(unmountAll);

afterAll(() => closeAll(until));

const isLive = (page, name) => until(() => expect(page.shows(name)?.isConnected).toBe(true));

/** Waits until what is sent now has come: whatever was on its way before has, too. */
async function settle(page, name) {
  hub.notify(9_999, { message: "the last" });
  await until(() => expect(page.shows(name).messages[0]).toBe("the last*"));
}

test("this is the React that is meant", () => {
  expect([version, domVersion].map((version) => version.split(".")[0])).toEqual([process.env.REACT, process.env.REACT]);
});

describe("one connection", () => {
  test("StrictMode mounts twice and connects once", async () => {
    const page = render(
      <StrictMode>
        <Bell url={hub.url} />
      </StrictMode>,
    );
    await until(() => expect(hub.count("GET /notifications")).toBe(1));
    await settle(page);
    expect(hub.streams).toHaveLength(1);
    expect(hub.count("GET /notifications")).toBe(1);
  });

  test("components share it, whenever they come, and each has its own handlers, called once", async () => {
    const heard = [];
    const joined = new Set();
    const bell = (name) => (
      <Bell
        key={name}
        name={name}
        url={hub.url}
        onConnected={() => joined.add(name)}
        onNotification={({ message }, { type }) => heard.push(`${name} ${type} ${message}`)}
      />
    );
    const page = render(<StrictMode>{[bell("a"), bell("b")]}</StrictMode>);
    await until(() => expect(joined).toContain("b"));
    page.render(<StrictMode>{[bell("a"), bell("b"), bell("c")]}</StrictMode>);
    await until(() => expect(joined).toContain("c"));
    hub.notify(1);
    await until(() => expect(heard).toHaveLength(3));
    expect(heard.sort()).toEqual(["a notification m1", "b notification m1", "c notification m1"]);
    expect(["a", "b", "c"].map((name) => page.shows(name).messages)).toEqual([["m1*"], ["m1*"], ["m1*"]]);
    expect(hub.streams).toHaveLength(1);
    expect(hub.count("GET /notifications")).toBe(1);
  });

  test("another hub and another token are another connection, with what it asks for", async () => {
    const other = await ScriptedHub.start();
    const page = render([
      <Bell key="a" name="a" url={hub.url} token="one" />,
      <Bell key="b" name="b" url={hub.url} token="two" />,
      <Bell key="c" name="c" url={other.url} token="one" />,
    ]);
    await Promise.all(["a", "b", "c"].map((name) => isLive(page, name)));
    expect(hub.streams.map(({ headers }) => headers.authorization).sort()).toEqual(["Bearer one", "Bearer two"]);
    expect(other.streams.map(({ headers }) => headers.authorization)).toEqual(["Bearer one"]);
    other.notify(1);
    await until(() => expect(page.shows("c").messages).toEqual(["m1*"]));
    expect(page.shows("a").messages).toEqual([]);
  });

  test("it is closed once the last component is gone, a moment later", async () => {
    const page = render([<Bell key="a" name="a" url={hub.url} />, <Bell key="b" name="b" url={hub.url} />]);
    await isLive(page, "b");
    page.render([<Bell key="a" name="a" url={hub.url} />]);
    await until(() => expect(page.shows("b")).toBe(null));
    await settle(page, "a");
    expect(hub.open).toHaveLength(1);
    page.unmount();
    await until(() => expect(hub.open).toHaveLength(0));
    expect(hub.streams).toHaveLength(1);
  });

  test("what is mounted anew within that moment, as by fast refresh or on another route, finds it as it was", async () => {
    const page = render(<Bell key="before" url={hub.url} />);
    await isLive(page);
    hub.notify(1);
    await until(() => expect(page.shows().messages).toEqual(["m1*"]));
    page.render(<Bell key="after" url={hub.url} />);
    await settle(page);
    page.render(null);
    await until(() => expect(page.shows()).toBe(null));
    hub.notify(10_000, { message: "while nobody looked" });
    page.render(<Bell key="again" url={hub.url} />);
    await until(() => expect(page.shows()?.messages).toEqual(["while nobody looked*", "the last*", "m1*"]));

    // The moment is over when one that was left later is closed.
    const other = await ScriptedHub.start();
    const elsewhere = render(<Bell url={other.url} />);
    await isLive(elsewhere);
    elsewhere.unmount();
    await until(() => expect(other.open).toHaveLength(0));
    expect(hub.open).toHaveLength(1);
    expect(hub.streams).toHaveLength(1);
    expect(hub.count("GET /notifications")).toBe(1);
  });

  test("mounted after it was closed, it is made again and the inbox read again", async () => {
    const page = render(<Bell url={hub.url} />);
    await isLive(page);
    page.render(null);
    await until(() => expect(hub.open).toHaveLength(0));
    hub.inbox = { notifications: [], unread: 7, nextCursor: null };
    page.render(<Bell url={hub.url} />);
    await isLive(page);
    await until(() => expect(hub.count("GET /notifications")).toBe(2));
    expect(hub.streams).toHaveLength(2);
  });

  test("reconnect() connects anew from the last place", async () => {
    const page = render(<Bell url={hub.url} />);
    await isLive(page);
    hub.notify(5);
    await until(() => expect(page.shows().messages).toEqual(["m5*"]));
    page.press("reconnect");
    await until(() => expect(hub.streams).toHaveLength(2));
    expect(hub.streams[1].headers["last-event-id"]).toBe("e-5");
    await until(() => expect(hub.open).toHaveLength(1));
    hub.notify(6);
    await until(() => expect(page.shows().messages).toEqual(["m6*", "m5*"]));
    expect(hub.count("GET /notifications")).toBe(1);
  });
});

describe("handlers and functions", () => {
  test("are those of the last render, without another connection", async () => {
    const heard = [];
    const page = render(null);
    for (let n = 1; n <= 3; n++) {
      page.render(
        <Bell name={`render-${n}`} url={hub.url} getToken={() => `token ${n}`} onNotification={() => heard.push(n)} />,
      );
      await isLive(page, `render-${n}`);
      hub.notify(n);
      await until(() => expect(page.shows(`render-${n}`).messages).toHaveLength(n));
    }
    expect(heard).toEqual([1, 2, 3]);
    expect(hub.streams).toHaveLength(1);
    hub.cut();
    await until(() => expect(hub.streams).toHaveLength(2));
    expect(hub.streams.map(({ headers }) => headers.authorization)).toEqual(["Bearer token 1", "Bearer token 3"]);
  });

  test("getToken is that of the component that came last", async () => {
    const bell = (name) => <Bell key={name} name={name} url={hub.url} getToken={() => name} />;
    const page = render([bell("first")]);
    await isLive(page, "first");
    page.render([bell("first"), bell("last")]);
    await isLive(page, "last");
    await settle(page, "last");
    hub.cut();
    await until(() => expect(hub.streams).toHaveLength(2));
    expect(hub.streams.map(({ headers }) => headers.authorization)).toEqual(["Bearer first", "Bearer last"]);
  });

  test("onConnected tells of a connection that was there before the component, once under StrictMode", async () => {
    const connected = [];
    const log = (name) => (info) => connected.push(`${name} ${info.userId}`);
    const early = <Bell key="early" name="early" url={hub.url} onConnected={log("early")} />;
    const late = <Bell key="late" name="late" url={hub.url} onConnected={log("late")} />;
    const page = render(<StrictMode>{[early]}</StrictMode>);
    await isLive(page, "early");
    page.render(<StrictMode>{[early, late]}</StrictMode>);
    await settle(page, "late");
    expect(connected).toEqual(["early 42", "late 42"]);
  });

  test("all of the connection's are there", async () => {
    const heard = [];
    const handlers = Object.fromEntries(
      ["Connected", "Notification", "Status", "Gap", "Heartbeat", "State"].map((name) => [
        `on${name}`,
        (detail) => heard.push([name, detail.state ?? detail.scope ?? detail.unread]),
      ]),
    );
    const page = render(<Bell url={hub.url} {...handlers} />);
    await isLive(page);
    hub.send("status", { unread: 3 });
    hub.send("gap", { scope: "inbox" }, { id: "e-7" });
    await until(() => expect(heard).toContainEqual(["Gap", "inbox"]));
    hub.send("heartbeat", {}, { id: "e-8" });
    await until(() => expect(heard.at(-1)).toEqual(["Heartbeat", undefined]));
    expect(heard).toContainEqual(["State", "open"]);
    expect(heard).toContainEqual(["Connected", undefined]);
    expect(heard).toContainEqual(["Status", 3]);
  });
});

describe("what cannot be", () => {
  /** Shows the error of what is in it. */
  class Boundary extends Component {
    state = {};
    static getDerivedStateFromError(error) {
      return { error };
    }
    render() {
      const { error } = this.state;
      return error ? <p role="alert">{`${error.name}: ${error.message}`}</p> : this.props.children;
    }
  }

  for (const [what, options, message] of [
    ["a limit that is none", { limit: 1.5 }, /^RangeError: limit must be a whole number from 0 to 1000/],
    ["a limit beyond all bounds", { limit: 1e9 }, /^RangeError/],
    ["a URL that is none", { url: "http://" }, /^TypeError/],
    ["a last id that no header can carry", { lastEventId: "é" }, /^TypeError: lastEventId/],
  ]) {
    test(`${what} is an error that a boundary catches`, async () => {
      const said = vi.spyOn(console, "error").mockImplementation(() => {}); // React tells of it as well
      const page = render(
        <Boundary>
          <Bell url={hub.url} {...options} />
        </Boundary>,
      );
      await until(() => expect(page.container.querySelector("[role=alert]")?.textContent).toMatch(message));
      expect(hub.streams).toHaveLength(0);
      said.mockRestore();
    });
  }
});

test("a server's page is taken over as it stands, and then comes alive", async () => {
  const recovered = [];
  const container = document.body.appendChild(document.createElement("main"));
  container.innerHTML = renderToString(<Bell url={hub.url} />);
  const output = container.querySelector("output");
  expect(JSON.parse(output.textContent)).toEqual({ isConnected: false, unread: null, messages: [] });
  const root = hydrateRoot(container, <Bell url={hub.url} />, { onRecoverableError: (error) => recovered.push(error) });
  await until(() => expect(JSON.parse(output.textContent).isConnected).toBe(true));
  expect(container.querySelector("output")).toBe(output);
  expect(recovered).toEqual([]);
  root.unmount();
  container.remove();
});

test("components that render together show the same, at any moment of a burst", async () => {
  const pairs = [];
  function Both() {
    const [, again] = useState(0);
    useLayoutEffect(() => {
      const shown = page?.container.querySelectorAll("output") ?? [];
      if (shown.length === 2) pairs.push([...shown].map(({ textContent }) => textContent));
    });
    return (
      <>
        <Bell name="a" url={hub.url} onNotification={() => again((n) => n + 1)} />
        <Bell name="b" url={hub.url} />
      </>
    );
  }
  const page = render(<Both />);
  await isLive(page, "a");
  for (let n = 1; n <= 100; n++) hub.notify(n);
  await until(() => expect(page.shows("b").messages).toHaveLength(100));
  expect(pairs.length).toBeGreaterThan(1);
  for (const [a, b] of pairs) expect(a).toBe(b);
});
