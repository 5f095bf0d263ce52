// A Chromium that talks to nobody but this machine.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";

import { chromium } from "playwright-core";

const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";

/**
 * A browser whose profile is a new, empty directory that goes with it.
 *
 * @param {{names?: string[]}} [options] host names that are this machine, too
 */
export function launch({ names = [] } = {}) {
  assert.ok(existsSync(CHROMIUM), `${CHROMIUM} is missing: tests/run installs it`);
  const known = names.map((name) => `MAP ${name} 127.0.0.1, `).join("");
  // Its own errands are switched off, and no name but loopback's and these resolves.
  return chromium.launch({
    executablePath: CHROMIUM,
    args: [
      "--headless",
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      `--host-resolver-rules=${known}MAP * ~NOTFOUND, EXCLUDE 127.0.0.1`,
    ],
  });
}
