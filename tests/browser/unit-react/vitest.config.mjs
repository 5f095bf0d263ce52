// The React hook under Vitest, with each React that it is for: vitest run --config unit-react/vitest.config.mjs

import { fileURLToPath } from "node:url";

import { defineConfig } from "vitest/config";

const at = (path) => fileURLToPath(new URL(path, import.meta.url));

/** The same tests, with `react` and `react-dom` of this major version from that directory. */
const withReact = (major, modules) => ({
  esbuild: { jsx: "automatic" },
  resolve: { alias: { react: at(`${modules}/react`), "react-dom": at(`${modules}/react-dom`) } },
  test: {
    name: `react ${major}`,
    root: at("."),
    environment: "jsdom",
    include: ["**/*.test.jsx"],
    // Above every wait inside, so that those can say what was missing.
    testTimeout: 200_000,
    hookTimeout: 200_000,
    env: { REACT: major },
  },
});

export default defineConfig({
  test: { projects: [withReact("19", "../node_modules"), withReact("18", "../react18/node_modules")] },
});
