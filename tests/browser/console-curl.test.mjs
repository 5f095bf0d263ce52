// The command beside the form, in a real shell: whatever a draft holds, it is one word and stays as it is.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test } from "node:test";
import { promisify } from "node:util";

import { curl, quoted } from "../../static/console/curl.js";

const run = promisify(execFile);

/** What a program is given by a shell, its arguments apart. */
async function arguments_(shell, command) {
  const { stdout } = await run(shell, ["-c", command], { env: { ...process.env, TOKEN: "secret" } });
  return stdout.split("\0").slice(0, -1);
}

const HARD = [
  "it's",
  "''",
  "'; rm -rf /tmp/nothing; '",
  'say "hello"',
  "$HOME ${HOME} $(id) `id` \\ \\n !! ~ * ? # & | < >",
  "two\nlines\r\nand\ttab",
  "Ünïcödé ☂ 漢字 👩🏽‍🚒 \u2028\u2029\u0085",
  "<img src=x onerror=alert(1)>",
  "-not --an=option",
  "@file",
  "",
];

for (const shell of ["bash", "sh"]) {
  test(`${shell} reads each text as one word, unchanged`, async () => {
    const command = `printf '%s\\0' ${HARD.map(quoted).join(" ")}`;
    assert.deepEqual(await arguments_(shell, command), HARD);
  });

  test(`${shell} reads a command with its body whole`, async () => {
    const body = Object.fromEntries(HARD.map((text, i) => [`field${i}`, { text, list: [text] }]));
    const command = curl("POST", "http://127.0.0.1:8400/it's/notifications?a=b&c=d", body);
    const words = await arguments_(shell, command.replace(/^curl/, "printf '%s\\0'"));
    assert.deepEqual(words.slice(0, 5), ["-X", "POST", "http://127.0.0.1:8400/it's/notifications?a=b&c=d", "-H", "Authorization: Bearer secret"]);
    assert.deepEqual(JSON.parse(words.at(-1)), body);
    assert.equal(words.at(-2), "--data-raw");
  });
}
