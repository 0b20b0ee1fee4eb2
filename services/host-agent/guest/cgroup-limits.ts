// The limits of one control group, in the words of version 1 and version 2, and what its members have met of them.
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";

export interface Limits {
  memoryBytes?: number;
  cpus?: number;
  processes?: number;
  /** No group's: with less of its disk left, whoever has the most of that is ended. */
  diskFreeBytes?: number;
}

export interface GroupAt {
  version: 1 | 2;
  folder: string;
}

export interface MemoryUse {
  /** So many members were killed because there was no more. */
  kills: number;
  /** The most that was ever charged, file cache included; 0 where the kernel does not tell. */
  peakBytes: number;
  /** In use now, without what the kernel takes back once somebody needs the room. */
  neededBytes: number;
}

export function limitMemory({ version, folder }: GroupAt, bytes: number): void {
  const limit = String(bytes);
  if (version === 1) {
    writeFileSync(path.join(folder, "memory.limit_in_bytes"), limit);
    return;
  }
  writeFileSync(path.join(folder, "memory.max"), limit);
  // Where there is swap, it would only make the end slower.
  tryWrite(path.join(folder, "memory.swap.max"), "0");
  tryWrite(path.join(folder, "memory.oom.group"), "1");
}

/** File cache, and in version 2 what the kernel keeps of names and inodes. */
const RECLAIMABLE = {
  1: /^total_(?:in)?active_file (\d+)$/gm,
  2: /^(?:(?:in)?active_file|slab_reclaimable) (\d+)$/gm,
};

export function memoryUse({ version, folder }: GroupAt): MemoryUse {
  const read = (file: string) => readable(path.join(folder, `memory.${file}`)) ?? "";
  const events = read(version === 2 ? "events" : "oom_control");
  let neededBytes = Number(read(version === 2 ? "current" : "usage_in_bytes"));
  for (const [, bytes] of read("stat").matchAll(RECLAIMABLE[version])) neededBytes -= Number(bytes);
  return {
    kills: Number(/oom_kill (\d+)/.exec(events)?.[1] ?? 0),
    peakBytes: Number(read(version === 2 ? "peak" : "max_usage_in_bytes")),
    neededBytes: Math.max(0, neededBytes),
  };
}

const CPU_PERIOD_US = 100_000;
/** The kernel takes no less. */
const CPU_QUOTA_LEAST_US = 1_000;

export function limitCpu({ version, folder }: GroupAt, cpus: number): void {
  const quotaUs = Math.max(CPU_QUOTA_LEAST_US, Math.round(cpus * CPU_PERIOD_US));
  if (version === 2) return writeFileSync(path.join(folder, "cpu.max"), `${quotaUs} ${CPU_PERIOD_US}`);
  writeFileSync(path.join(folder, "cpu.cfs_period_us"), String(CPU_PERIOD_US));
  writeFileSync(path.join(folder, "cpu.cfs_quota_us"), String(quotaUs));
}

/** All that its members have had so far, ms; null where the kernel does not tell. */
export function cpuTimeMs({ version, folder }: GroupAt): number | null {
  const text = readable(path.join(folder, CPU_TIME_FILE[version]));
  const count = /^(?:usage_usec )?(\d+)/.exec(text ?? "")?.[1];
  // Microseconds, or in version 1 nanoseconds.
  return count === undefined ? null : Number(count) / (version === 2 ? 1e3 : 1e6);
}

export const CPU_TIME_FILE = { 1: "cpuacct.usage", 2: "cpu.stat" } as const;

/** Threads count too. */
export const limitProcesses = ({ folder }: GroupAt, processes: number): void =>
  writeFileSync(path.join(folder, "pids.max"), String(processes));

export const forksRefused = ({ folder }: GroupAt): number =>
  Number(/^max (\d+)$/m.exec(readable(path.join(folder, "pids.events")) ?? "")?.[1] ?? 0);

export function tryWrite(file: string, text: string): void {
  try {
    writeFileSync(file, text);
  } catch {
    // Not there, or not permitted: optional.
  }
}

export function readable(file: string): string | null {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return null;
  }
}
