// What the sign-in of such an application puts into its cookie: a JWT of its own making, signed with the hub's secret.

import { createHmac } from "node:crypto";
import { readFile } from "node:fs/promises";

const LIFETIME_S = 12 * 3_600;

export async function session(user, roles, secretFile) {
  const secret = Buffer.from((await readFile(secretFile, "utf8")).trim(), "base64url");
  const part = (json) => Buffer.from(JSON.stringify(json)).toString("base64url");
  const exp = Math.floor(Date.now() / 1_000) + LIFETIME_S;
  const signed = `${part({ alg: "HS256" })}.${part({ sub: user, roles, exp })}`;
  return `${signed}.${createHmac("sha256", secret).update(signed).digest("base64url")}`;
}
