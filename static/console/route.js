// Where in the console one is: `#/deliveries/CNC-1126-0001`, `#/deliveries?user=42&outcome=failed`.
//
// A room and what it shows stand in the address, so that "why did she not get it?" can be answered with a link.

/** The address of a room. `query` may hold lists; what is empty is left out. */
export function to(room, segments = [], query = {}) {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const one of [value].flat()) if (one !== undefined && one !== null && one !== "" && one !== false) search.append(name, one);
  }
  const path = [room, ...segments].map(encodeURIComponent).join("/");
  return `#/${path}${search.size ? `?${search}` : ""}`;
}

/** Goes there; to where one is already, it is opened anew. */
export function go(hash) {
  if (location.hash === hash) dispatchEvent(new Event("hashchange"));
  else location.hash = hash;
}

/** What the address says: a room's name, the segments behind it, and its query. */
export function here() {
  const [path, search] = location.hash.replace(/^#\/?/, "").split(/\?(.*)/s);
  const [room, ...segments] = path.split("/").map(decoded);
  return { room, segments: segments.filter(Boolean), query: new URLSearchParams(search ?? "") };
}

/** An address that was cut off on its way here may end within a `%`. */
function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
