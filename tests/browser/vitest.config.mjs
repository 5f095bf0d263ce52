import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["unit/**/*.test.mjs"],
    // Time is pretended; these are for a machine that has much else to do.
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
});
