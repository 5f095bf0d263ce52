// Sessions as NextAuth.js 4 and Auth.js 5 make them: whoever is signed in to such a site opens a stream with the cookie
// that the site has given them, whole or in the parts that the libraries cut it into.

import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";

import { Hub, temporaryDirectory } from "../browser/hub.mjs";

const PACKAGES = new URL("../browser/node_modules/", import.meta.url);
const v4 = createRequire(new URL("../browser/", import.meta.url))("next-auth/jwt");
const v5 = await import(new URL("@auth/core/jwt.js", PACKAGES));
const { SessionStore } = await import(new URL("@auth/core/lib/utils/cookie.js", PACKAGES));

/** A limit for each test, in milliseconds. */
const LIMIT = { timeout: 60_000 };

const SECRET = "the present secret of the site";
const EARLIER = "the secret before that one";

/** It tells of every session that it cuts into parts. */
const QUIET = { debug() {} };

const ANN = { name: "Ann", email: "ann@shop.example", sub: "42", role: "ADMIN" };

let hub;

before(async () => {
  const file = join(await temporaryDirectory(), "nextauth-secret");
  await writeFile(file, `${SECRET}\n${EARLIER}\n`, { mode: 0o600 });
  hub = await Hub.start(["--nextauth-secret-file", file]);
});

after(async () => {
  await hub?.close();
});

/** A session for this cookie, as the library makes it when somebody signs in. */
function minted(cookie, { token = ANN, secret = SECRET, maxAge } = {}) {
  return cookie.includes("authjs")
    ? v5.encode({ token, secret, maxAge, salt: cookie })
    : v4.encode({ token, secret, maxAge });
}

/** The cookie as the library sets it: in parts, if it is long. */
function cookies(name, session) {
  const store = new SessionStore({ name, options: {} }, {}, QUIET);
  return store.chunk(session, {}).map(({ name, value }) => `${name}=${value}`);
}

/** The first event of a stream, or the refusal. */
async function opened(cookie) {
  const stopped = new AbortController();
  const response = await fetch(`${hub.url}/notifications/stream`, { headers: { cookie }, signal: stopped.signal });
  try {
    if (response.status !== 200) return { status: response.status, ...(await response.json()) };
    let text = "";
    for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
      text += chunk;
      const data = /^data: (.*)\n\n/m.exec(text);
      if (data) return { status: 200, ...JSON.parse(data[1]) };
    }
    throw new Error(`the stream ended with ${text}`);
  } finally {
    stopped.abort();
  }
}

for (const name of [
  "authjs.session-token",
  "__Secure-authjs.session-token",
  "next-auth.session-token",
  "__Secure-next-auth.session-token",
]) {
  describe(name, () => {
    test("opens a stream for its user with their role", LIMIT, async () => {
      const event = await opened(cookies(name, await minted(name)).join("; "));
      assert.equal(event.type, "connected");
      assert.equal(event.userId, "42");
      assert.deepEqual(event.data.roles, ["ADMIN"]);
    });

    test("opens one when it is so long that it comes in parts", LIMIT, async () => {
      const token = { ...ANN, picture: "x".repeat(9_000) };
      const parts = cookies(name, await minted(name, { token }));
      assert.ok(parts.length > 2 && parts[0].startsWith(`${name}.0=`), parts[0].slice(0, 60));
      const event = await opened(parts.reverse().join("; "));
      assert.equal(event.userId, "42");
      const { status } = await opened(parts.slice(1).join("; "));
      assert.equal(status, 401);
    });

    test("opens one if it was made with the secret before", LIMIT, async () => {
      const session = await minted(name, { secret: EARLIER });
      assert.equal((await opened(`${name}=${session}`)).userId, "42");
    });

    test("opens none if it has expired, or was made with another secret", LIMIT, async () => {
      const expired = await minted(name, { maxAge: -60 });
      assert.match((await opened(`${name}=${expired}`)).detail, /expired/);
      const foreign = await minted(name, { secret: "of another site" });
      const { status, detail } = await opened(`${name}=${foreign}`);
      assert.equal(status, 401);
      assert.match(detail, /does not open/);
    });
  });
}

test("a session in the site's database is refused with a line that says so", LIMIT, async () => {
  const { status, detail } = await opened(`authjs.session-token=${crypto.randomUUID()}`);
  assert.equal(status, 401);
  assert.match(detail, /kept in the site's database/);
});
