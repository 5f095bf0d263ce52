// What a front-end developer takes home: `npm pack` of static/, installed where there is no network, imported by Node and
// understood by TypeScript.

import { execFile } from "node:child_process";
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { gzipSync } from "node:zlib";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

const run = promisify(execFile);
const path = (relative) => fileURLToPath(new URL(relative, import.meta.url));
const STATIC = path("../../../static");
const TSC = path("../node_modules/typescript/bin/tsc");

let project;
let packed;

beforeAll(async () => {
  project = await mkdtemp(join(tmpdir(), "campanile-package-"));
  const { stdout } = await run("npm", ["pack", "--json", "--pack-destination", project, STATIC]);
  [packed] = JSON.parse(stdout);
  await writeFile(join(project, "package.json"), '{"private":true,"type":"module"}');
  const tarball = join(project, packed.filename);
  await run("npm", ["install", "--offline", "--no-audit", "--no-fund", "--ignore-scripts", tarball], { cwd: project });
});

afterAll(() => rm(project, { recursive: true, force: true }));

/** What tsc says of a file in the project: its errors, or nothing. */
async function compile(file, ...options) {
  const strict = ["--strict", "--noEmit", "--target", "es2022", "--lib", "es2022,dom,dom.iterable"];
  const args = [TSC, ...strict, "--noUnusedLocals", "--exactOptionalPropertyTypes", ...options, file];
  return run(process.execPath, args, { cwd: project }).then(
    () => "",
    ({ stdout }) => stdout,
  );
}

describe("the package", () => {
  test("holds the client, the React hook and their types, and nothing of the console", () => {
    const files = packed.files.map((file) => file.path);
    expect(files.sort()).toEqual(["campanile.d.ts", "campanile.js", "package.json", "react.d.ts", "react.js"]);
    expect(packed.name).toBe("campanile");
  });

  test("has the version of the hub", async () => {
    const [, version] = /^version = "(.*)"$/m.exec(await readFile(path("../../../Cargo.toml"), "utf8"));
    expect(packed.version).toBe(version);
  });

  test("is imported by its name, on a server as well", async () => {
    const program = `
      import { connect, CampanileError, EventStreamParser } from "campanile";
      globalThis.CustomEvent ??= class extends Event {}; // Node has it from 19 on
      try { connect(); } catch (error) { console.log(error.name); }
      const connection = connect({ url: "http://127.0.0.1:9/notifications/stream" });
      console.log(connection.state, new CampanileError("ended", "x").code, [...new EventStreamParser().push("data: 1\\n\\n")].length);
      connection.close();
      console.log(connection.state);
    `;
    const { stdout } = await run(process.execPath, ["--input-type=module", "-e", program], { cwd: project });
    expect(stdout.trim().split("\n")).toEqual(["TypeError", "connecting ended 1", "closed"]);
  });
});

describe("its types", () => {
  test("compile under --strict, and so does what a page may write", async () => {
    await copyFile(path("../types/usage.ts"), join(project, "usage.ts"));
    expect(await compile("usage.ts", "--module", "nodenext")).toBe("");
  });

  test("are found by bundlers, too", async () => {
    await copyFile(path("../types/usage.ts"), join(project, "usage.ts"));
    expect(await compile("usage.ts", "--skipLibCheck", "--module", "esnext", "--moduleResolution", "bundler")).toBe("");
  });

  test("refuse what is wrong, and each of it", async () => {
    const source = await readFile(path("../types/misuse.ts"), "utf8");
    await writeFile(join(project, "misuse.ts"), source);
    expect(await compile("misuse.ts", "--skipLibCheck", "--module", "nodenext")).toBe("");
    await writeFile(join(project, "misuse.ts"), source.replaceAll("@ts-expect-error", ""));
    const errors = (await compile("misuse.ts", "--skipLibCheck", "--module", "nodenext")).match(/^misuse\.ts\(\d+/gm);
    expect(new Set(errors).size).toBe(source.match(/@ts-expect-error/g).length);
  });
});

test("campanile.js stays under 6 KB as it is served, comments and all", async () => {
  const source = await readFile(join(STATIC, "campanile.js"));
  expect(gzipSync(source, { level: 9 }).length).toBeLessThan(6 * 1_024);
  await mkdir(join(project, "served"), { recursive: true });
  await copyFile(join(STATIC, "campanile.js"), join(project, "served", "campanile.js"));
  const { stdout } = await run("sh", ["-c", "gzip -9c campanile.js | wc -c"], { cwd: join(project, "served") });
  expect(Number(stdout)).toBeLessThan(6 * 1_024);
});
