const STEPS = [
  [60, "second"],
  [60, "minute"],
  [24, "hour"],
  [Infinity, "day"],
] as const;

const format = new Intl.RelativeTimeFormat("en", { numeric: "auto", style: "short" });

/** How long ago that was: "now", "5 min. ago", "yesterday". */
export function ago(moment: string | number | undefined): string {
  if (moment === undefined) return "";
  let past = Math.max(0, Math.round((Date.now() - new Date(moment).getTime()) / 1000));
  for (const [length, unit] of STEPS) {
    if (past < length) return unit === "second" ? "now" : format.format(-past, unit);
    past = Math.floor(past / length);
  }
  return "";
}
