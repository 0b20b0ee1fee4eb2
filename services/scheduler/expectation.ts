// What memory is counted for a task: what its request asks for, or else what attempts like it needed, within bounds; and
// more once an attempt of it has run out of memory. Pure.

import type { AttemptResult } from "../../shared/contracts/attempt-result.ts";
import { REQUEST_DEFAULTS } from "../../shared/contracts/deploy-request.ts";
import type { Usual } from "../../shared/contracts/outlook.ts";
import type { QueueEntry } from "./queue-entry.ts";
import { gigabytes } from "./remedy.ts";

/** Where the number comes from. */
export type MemorySource = "request" | "default" | "attempts" | "retry";

export type CountedMemory = Pick<QueueEntry, "memoryBytes" | "memorySource">;

/** So many attempts tell what the next will need. */
const ENOUGH = 5;
/** Less is never expected: it says more of what could be measured than of the work. */
export const EXPECTED_MIN_BYTES = 67_108_864;
/** Of the largest host's memory at most: an expectation is no demand, and must leave some host that can take the task. */
const LARGEST_SHARE = 0.5;

interface Bounds {
  /** The task's own limit. */
  limitBytes: number;
  /** Memory of the largest host; null if none is known. */
  largestBytes: number | null;
}

/** For a task whose request does not say; `usual` is null where nothing is known, or nothing is to be learned. */
export function expectedMemory(usual: Usual | null, bounds: Bounds): CountedMemory {
  const needed = usual?.memoryBytes;
  if (!needed || needed.attempts < ENOUGH)
    return { memoryBytes: REQUEST_DEFAULTS.memoryBytes, memorySource: "default" };
  const memoryBytes = within(Math.max(EXPECTED_MIN_BYTES, needed.p95), bounds);
  return { memoryBytes, memorySource: "attempts" };
}

/** For the task again, of which an attempt was ended for what it used; `result` is what is known of that. */
export function memoryAfter(
  counted: CountedMemory,
  result: AttemptResult | undefined,
  bounds: Bounds,
): CountedMemory {
  const wanted = within(result?.peakMemoryBytes ?? 2 * counted.memoryBytes, bounds);
  // What filled the disk, say, had memory enough.
  return wanted > counted.memoryBytes ? { memoryBytes: wanted, memorySource: "retry" } : counted;
}

const within = (bytes: number, { limitBytes, largestBytes }: Bounds): number =>
  Math.ceil(Math.min(bytes, limitBytes, largestBytes === null ? bytes : LARGEST_SHARE * largestBytes));

/** Neither asked for nor seen in an attempt of the task itself: it follows what is learned. */
export const isExpected = ({ memorySource }: CountedMemory): boolean =>
  memorySource === "default" || memorySource === "attempts";

/** Where the number comes from. */
export function memoryInWords(task: QueueEntry, usual: Usual | null): string {
  const { memoryBytes, memorySource, repository, type, runner } = task;
  const needed = usual?.memoryBytes ?? null;
  const by = runner === null || runner === "command" ? "" : ` by ${runner}`;
  const attempts = `attempts of ${repository} ${type}${by}`;
  switch (memorySource) {
    case "request":
      return "asked for";
    case "retry":
      return "an attempt of it ran out of less";
    case "attempts":
      if (needed === null) return `what ${attempts} needed`;
      return needed.p95 <= memoryBytes
        ? `95 % of ${needed.attempts} ${attempts} needed no more`
        : `95 % of ${needed.attempts} ${attempts} needed up to ${gigabytes(needed.p95)} GB; no more is counted than its limit, or half of the largest host`;
    case "default":
      return needed === null || needed.attempts < ENOUGH
        ? `the default, until ${ENOUGH} ${attempts} have been measured (${needed?.attempts ?? 0} so far)`
        : "the default: placement.learn is false";
  }
}
