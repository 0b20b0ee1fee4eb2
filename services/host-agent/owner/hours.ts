// Whether a moment lies within an owner's hours, and when that changes, by the machine's own clock on the wall, which
// jumps where summer time begins and ends. Pure.
import type { Hours } from "../../../shared/config/when.ts";

/** How far local time is ahead of UTC at a moment (ms since the epoch), in whole minutes. */
export type OffsetAt = (ms: number) => number;

export const localOffset: OffsetAt = (ms) => -new Date(ms).getTimezoneOffset();

const MINUTE_MS = 60_000;
const DAY = 1_440;
/** The epoch began on a Thursday. */
const FIRST_DAY = 4;
/** More boundaries than there are in a week, with two jumps of the clock. */
const STEPS = 40;

const remainder = (number: number, by: number): number => ((number % by) + by) % by;

const wallMinute = (ms: number, offsetAt: OffsetAt): number => Math.floor(ms / MINUTE_MS) + offsetAt(ms);

export function isWithin(hours: Hours, ms: number, offsetAt: OffsetAt): boolean {
  const { days, fromMinute, toMinute } = hours;
  const wall = wallMinute(ms, offsetAt);
  const minute = remainder(wall, DAY);
  const today = remainder(Math.floor(wall / DAY) + FIRST_DAY, 7);
  if (fromMinute < toMinute) return days.has(today) && minute >= fromMinute && minute < toMinute;
  const yesterday = remainder(today - 1, 7);
  return (days.has(today) && minute >= fromMinute) || (days.has(yesterday) && minute < toMinute);
}

/** The first moment after this one at which `isWithin` says something else; null if it never does. */
export function nextChange(hours: Hours, ms: number, offsetAt: OffsetAt): number | null {
  const now = isWithin(hours, ms, offsetAt);
  let at = Math.floor(ms / MINUTE_MS) * MINUTE_MS;
  for (let step = 0; step < STEPS; step++) {
    at = nextBoundary(hours, at, offsetAt);
    if (isWithin(hours, at, offsetAt) !== now) return at;
  }
  return null;
}

/** When the wall clock next shows an end of the hours, or midnight, or jumps, whatever comes first. */
function nextBoundary({ fromMinute, toMinute }: Hours, at: number, offsetAt: OffsetAt): number {
  const minute = remainder(wallMinute(at, offsetAt), DAY);
  const minutes = Math.min(
    ...[0, fromMinute, toMinute].map((boundary) => remainder(boundary - minute - 1, DAY) + 1),
  );
  const next = at + minutes * MINUTE_MS;
  if (offsetAt(next) === offsetAt(at)) return next;
  let [before, after] = [at, next];
  while (after - before > MINUTE_MS) {
    const middle = before + Math.floor((after - before) / 2 / MINUTE_MS) * MINUTE_MS;
    if (offsetAt(middle) === offsetAt(at)) before = middle;
    else after = middle;
  }
  return after;
}
