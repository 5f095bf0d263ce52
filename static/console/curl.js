// The same request as a command, to be pasted into a shell.

/**
 * A text as one word of a POSIX shell: within single quotes everything stands for itself, but for the single quote.
 *
 * @param {string} text
 */
export const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;

/**
 * @param {string} method
 * @param {string|URL} url
 * @param {object} [body] sent as JSON
 */
export function curl(method, url, body) {
  const lines = [`curl -X ${method}`, quoted(String(url)), `-H "Authorization: Bearer $TOKEN"`];
  if (body !== undefined) {
    lines.push(`-H 'Content-Type: application/json'`, `--data-raw ${quoted(fieldByField(body))}`);
  }
  return lines.join(" \\\n  ");
}

/** JSON with a line for each field: in a text of JSON no line can break, so none can break a word of the shell. */
function fieldByField(body) {
  const fields = Object.entries(body).map(([name, value]) => `    ${JSON.stringify(name)}: ${JSON.stringify(value)}`);
  return `{\n${fields.join(",\n")}\n  }`;
}
