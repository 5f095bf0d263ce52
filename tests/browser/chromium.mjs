// A Chromium that talks to nobody but this machine.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";

import { chromium } from "playwright-core";

const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";

/** A browser whose profile is a new, empty directory that goes with it. */
export function launch() {
  assert.ok(existsSync(CHROMIUM), `${CHROMIUM} is missing: tests/run installs it`);
  // Its own errands are switched off, and no name but loopback's resolves.
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
      "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    ],
  });
}
