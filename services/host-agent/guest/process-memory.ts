// What processes have of memory, as /proc tells it, for where no control group counts it. What lies in files does not
// count: the kernel takes that back once somebody needs the room.
import { readable } from "./cgroup-limits.ts";

/**
 * Bytes. What a fork shares with its parent counts for both, which is cheap to read; where that comes to more than
 * `suspectBytes`, each page is counted once, which has the kernel look at all of them.
 */
export function memoryOf(pids: number[], suspectBytes: number): number {
  const bytes = sum(pids.map(residentBytes));
  return bytes > suspectBytes ? sum(pids.map(shareBytes)) : bytes;
}

const residentBytes = (pid: number): number =>
  sum(kibibytes(`/proc/${pid}/status`, /^(?:Rss(?:Anon|Shmem)|VmSwap):\s+(\d+)/gm)) * 1_024;

/** Its part of what it shares with others, too. */
function shareBytes(pid: number): number {
  const shares = kibibytes(`/proc/${pid}/smaps_rollup`, /^(?:Pss_(?:Anon|Shmem)|SwapPss):\s+(\d+)/gm);
  // Not ours to read, or of an older kernel.
  return shares.length === 0 ? residentBytes(pid) : sum(shares) * 1_024;
}

const kibibytes = (file: string, wanted: RegExp): number[] =>
  [...(readable(file) ?? "").matchAll(wanted)].map(([, count]) => Number(count));

const sum = (numbers: number[]): number => numbers.reduce((total, number) => total + number, 0);
