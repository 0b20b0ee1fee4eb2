// When a machine's owner lets the mesh use it (MESH_HOST_WHEN): alternatives of conditions, in words. Pure.
import { parseDuration } from "./quantities.ts";

/** Minutes of the machine's own day; a window that ends before it begins lasts until the next day. */
export interface Hours {
  kind: "hours";
  /** Days on which it begins, 0 is Sunday. */
  days: ReadonlySet<number>;
  fromMinute: number;
  toMinute: number;
}

/** `words`: as the owner wrote it. */
export type Condition = { words: string } & (Hours | { kind: "idle"; ms: number } | { kind: "ac" });

/** Work may begin where all conditions of one alternative hold. */
export type When = readonly (readonly Condition[])[];

export const ALWAYS: When = [[]];

const DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
const WHOLE_DAY = 1_440;
/** A shorter pause at the keyboard is no absence, ms. */
const IDLE_LEAST_MS = 60_000;

/** `ac and idle 15m or mon-fri 18:00-08:00 or sat-sun`: "and" binds closer. A refusal says what was expected. */
export function parseWhen(text: string): { ok: true; when: When } | { ok: false; message: string } {
  const written = text.trim().toLowerCase();
  if (written === "always") return { ok: true, when: ALWAYS };
  const when: Condition[][] = [];
  for (const alternative of written.split(/\s+or\s+/)) {
    const conditions: Condition[] = [];
    for (const words of alternative.split(/\s+and\s+/)) {
      const condition = conditionOf(words.trim());
      if (condition === null) return { ok: false, message: expectedInsteadOf(words.trim()) };
      conditions.push(condition);
    }
    when.push(conditions);
  }
  return { ok: true, when };
}

const expectedInsteadOf = (words: string): string =>
  'expected always, or conditions joined by "and" and "or", such as: ac, idle 15m, 18:00-08:00, ' +
  `mon-fri 18:00-08:00, sat-sun (not ${JSON.stringify(words.slice(0, 80))})`;

function conditionOf(words: string): Condition | null {
  if (words === "ac") return { kind: "ac", words };
  const [, idle] = /^idle\s+(\S+)$/.exec(words) ?? [];
  if (idle !== undefined) {
    const ms = parseDuration(idle);
    return ms === null || ms < IDLE_LEAST_MS ? null : { kind: "idle", ms, words };
  }
  const written = /^([a-z][a-z,-]*)?(?:(?:^|\s+)(\d{1,2}:\d{2})\s*-\s*(\d{1,2}:\d{2}))?$/.exec(words);
  if (words === "" || written === null) return null;
  const [, days = "sun-sat", from = "0:00", to = "24:00"] = written;
  const on = daysOf(days);
  const [fromMinute, toMinute] = [minuteOf(from), minuteOf(to)];
  if (on === null || fromMinute === null || toMinute === null) return null;
  // It would be empty, or last a day: who means that says 0:00-24:00.
  if (fromMinute === toMinute || fromMinute === WHOLE_DAY) return null;
  return { kind: "hours", days: on, fromMinute, toMinute, words };
}

/** Of `mon-fri`, `sat,sun` or `mon,wed-fri`; a span may pass the end of the week. */
function daysOf(text: string): Set<number> | null {
  const days = new Set<number>();
  for (const span of text.split(",")) {
    const [first, last = first, ...more] = span.split("-").map((name) => DAYS.indexOf(name));
    if (first === undefined || last === undefined || first < 0 || last < 0 || more.length > 0) return null;
    for (let day = first; ; day = (day + 1) % 7) {
      days.add(day);
      if (day === last) break;
    }
  }
  return days;
}

function minuteOf(text: string): number | null {
  const [hours = Number.NaN, minutes = Number.NaN] = text.split(":").map(Number);
  const minute = hours * 60 + minutes;
  return minutes < 60 && minute <= WHOLE_DAY ? minute : null;
}
