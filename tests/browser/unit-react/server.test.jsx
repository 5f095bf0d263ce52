// @vitest-environment node
// Rendering on a server, where there is no window.

import { renderToString } from "react-dom/server";
import { expect, test } from "vitest";

test("the hook is imported and rendered without a window, shows that there is nothing yet, and connects to nothing", async () => {
  expect([typeof window, typeof document, typeof location]).toEqual(["undefined", "undefined", "undefined"]);
  const { Bell } = await import("./page.jsx");
  const html = renderToString(<Bell />); // of a relative URL, which without a page leads nowhere
  expect(html).toContain('{"isConnected":false,"unread":null,"messages":[]}'.replaceAll('"', "&quot;"));
});
