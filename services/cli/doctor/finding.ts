// What a check has found: a verdict with what was seen, and for everything but "ok" what to do about it. The checks
// themselves are pure judgements over what was read.

export type Finding = { check: string; found: string } & (
  | { verdict: "ok" }
  | { verdict: "warn" | "fail"; fix: string }
);

export const ok = (check: string, found: string): Finding => ({ check, verdict: "ok", found });
export const warn = (check: string, found: string, fix: string): Finding => ({
  check,
  verdict: "warn",
  found,
  fix,
});
export const fail = (check: string, found: string, fix: string): Finding => ({
  check,
  verdict: "fail",
  found,
  fix,
});

/** Whether this machine's clock and another one agree. */
export function clockFinding(check: string, aheadMs: number, whose: string, fix: string): Finding {
  const found = `${(Math.abs(aheadMs) / 1_000).toFixed(1)} s ${aheadMs > 0 ? "ahead of" : "behind"} ${whose}`;
  if (Math.abs(aheadMs) < 2_000) return ok(check, found);
  return Math.abs(aheadMs) < 60_000 ? warn(check, found, fix) : fail(check, found, fix);
}
