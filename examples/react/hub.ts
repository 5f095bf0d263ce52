// The way from Vite's development server to the hub, and who the page is when it gets there.
//
// In production your own sign-in says who is there, by a cookie or a token. So that this example starts with one command,
// its development server says that it is the user "demo", with a token that the `campanile` command signs with the secret
// in the hub's data directory. Whoever reaches the development server is "demo": keep it on your own machine.

import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

import type { ProxyOptions } from "vite";

/** Where the hub listens. */
const hub = process.env.HUB ?? "http://127.0.0.1:8400";

/** How long a token is valid, and how long one is used (ms). */
const LIFETIME = "1h";
const USE_MS = 30 * 60_000;

const repository = (path: string) => fileURLToPath(new URL(`../../${path}`, import.meta.url));

/** The command: that of `CAMPANILE`, what was built in this repository, or the one in the PATH. */
const command =
  process.env.CAMPANILE ??
  ["target/release/campanile", "target/debug/campanile"].map(repository).find((path) => existsSync(path)) ??
  "campanile";

/** The data directory of the hub: that of the environment, or where `cargo run` in this repository puts it. */
const data = process.env.CAMPANILE_SERVE_DATA ?? repository("campanile-data");

let made: { token: string; at: number } | undefined;

function token(): string {
  // A token of your own, as `campanile token --user demo --scope publish` prints it.
  if (process.env.TOKEN) return process.env.TOKEN;
  if (made && Date.now() - made.at < USE_MS) return made.token;
  const rights = ["--user", "demo", "--role", "DEMO", "--scope", "publish", "--ttl", LIFETIME];
  try {
    const printed = execFileSync(command, ["token", "--data", data, ...rights], { encoding: "utf8", stdio: "pipe" });
    made = { token: printed.trim(), at: Date.now() };
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    const message =
      `There is no token for the hub. Start the hub first, in the root of the repository: cargo run --release\n` +
      `If it runs elsewhere, set HUB, and TOKEN to what \`campanile token --user demo --scope publish\` prints there.\n\n${why}`;
    throw Object.assign(new Error(message), { stack: message }); // where in this file says nothing to anybody
  }
  return made.token;
}

/** For `server.proxy`: the hub's routes, asked as "demo". Throws at once if there is no token to be had. */
export function proxy(): Record<string, ProxyOptions> {
  token();
  const configure: ProxyOptions["configure"] = (server) => {
    server.on("proxyReq", (request) => request.setHeader("authorization", `Bearer ${token()}`));
  };
  return { "/notifications": { target: hub, configure } };
}
