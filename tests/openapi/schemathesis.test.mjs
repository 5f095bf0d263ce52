// schemathesis, which reads /openapi.json and makes requests of it, rightly and wrongly formed, against a hub: no answer is
// an error of the hub's own, and each is as the document says: its status, its type, its headers, its body.
//
// The stream is left out, for it does not end. What is drawn follows from a seed, so that a failure comes again; each is
// told with a curl command. Run it alone with `node --test tests/openapi`, after `tests/run` has installed what it needs.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";

import { BINARY, Hub, TOOLS, output, temporaryDirectory } from "../browser/hub.mjs";

const SCHEMATHESIS = join(TOOLS, "schemathesis/bin/schemathesis");

/** For each test, in milliseconds: the longest takes half a minute where nothing else runs. */
const LIMIT = { timeout: 300_000 };

const SEED = "20261126";

/**
 * Two of its checks are left out. The rules of a draft, such as what may stand beside what, are more than JSON Schema says, so
 * what fits the schema may be refused (`positive_data_acceptance`); and a batch with a wrong draft in it is answered 200,
 * with 422 for that draft (`negative_data_rejection`).
 */
const CHECKS = ["--exclude-checks", "positive_data_acceptance,negative_data_rejection"];

/** This takes a secret of its own, and so has a test of its own. */
const CRON = "/cron/check-overdue";
const STREAM = "/notifications/stream";

let hub;
let directory;

before(async () => {
  assert.ok(existsSync(SCHEMATHESIS), "schemathesis is missing: tests/run installs it");
  hub = await Hub.start();
  directory = await temporaryDirectory();
});

after(async () => {
  await hub?.close();
  if (directory) await rm(directory, { recursive: true, force: true });
});

/** Runs it with a credential; its words are those of the failure. */
async function conforms(credential, examples, which) {
  const child = spawn(
    SCHEMATHESIS,
    [
      "run",
      `${hub.url}/openapi.json`,
      ...["--header", `Authorization: Bearer ${credential}`],
      ...["--seed", SEED, "--max-examples", String(examples), "--phases", "examples,coverage,fuzzing"],
      ...["--generation-database", "none", "--suppress-health-check", "all", "--request-timeout", "20"],
      ...["--no-color", ...CHECKS, ...which],
    ],
    {
      // In a directory of its own, so that no schemathesis.toml of the developer's is found, and nothing is left behind.
      cwd: directory,
      env: {
        ...process.env,
        SCHEMATHESIS_HOOKS: "hooks",
        PYTHONPATH: fileURLToPath(new URL(".", import.meta.url)),
        PYTHONDONTWRITEBYTECODE: "1",
        NO_PROXY: "127.0.0.1",
      },
      stdio: ["ignore", "pipe", "pipe"],
    },
  );
  let said = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text) => (said += text));
  }
  const [code] = await once(child, "close");
  assert.equal(code, 0, said);
  const [, cases] = said.match(/(\d+) generated/) ?? assert.fail(said);
  return Number(cases);
}

const ALL = ["--exclude-path", STREAM, "--exclude-path", CRON];

describe("every answer is as the document says", () => {
  test("to an administrator", LIMIT, async () => {
    const token = await hub.token("schemathesis-admin", { roles: ["ADMIN"], scopes: ["admin"] });
    assert.ok((await conforms(token, 25, ALL)) > 2_000);
  });

  test("to a publisher with an API key", LIMIT, async () => {
    const key = await output(BINARY, [
      ...["key", "create", "--data", hub.directory],
      ...["--name", "schemathesis", "--scope", "publish"],
    ]);
    assert.ok((await conforms(key, 5, ALL)) > 1_000);
  });

  test("to a reader", LIMIT, async () => {
    const token = await hub.token("schemathesis-reader", { roles: ["CREW"] });
    assert.ok((await conforms(token, 5, ALL)) > 1_000);
  });

  test("to a cron job", LIMIT, async () => {
    const secret = (await readFile(join(hub.directory, "cron-secret"), "utf8")).trim();
    assert.ok((await conforms(secret, 25, ["--include-path", CRON])) > 0);
  });
});
