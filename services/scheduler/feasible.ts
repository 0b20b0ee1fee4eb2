// Which hosts could take a task at all, and why the others could not. Pure.
import type { FleetHost } from "./fleet.ts";
import type { QueueEntry } from "./queue.ts";

/** The checks in the order they are made: the first that fails is the host's refusal. */
export const CHECKS = [
  "offline",
  "draining",
  "cordoned",
  "untrusted",
  "labels",
  "cpus",
  "slots",
  "memory",
  "avoided",
  "breaker",
] as const;
export type Check = (typeof CHECKS)[number];

export interface PlacementTimes {
  /** A host not heard of for so long is offline, ms. */
  silenceMs: number;
  /** An attempt younger than this may not have reached the memory it will use, ms. */
  memoryRampMs: number;
}

/** Of a host's memory, this share is given out at most. */
const MEMORY_SHARE = 0.95;

/** Bytes a new attempt may count on: what is measured, less what young attempts will still take. */
export function effectiveFreeBytes(host: FleetHost, nowMs: number, times: PlacementTimes): number {
  let reserved = 0;
  let young = 0;
  for (const reservation of host.reservations.values()) {
    reserved += reservation.memoryBytes;
    if (nowMs - reservation.sinceMs < times.memoryRampMs) young += reservation.memoryBytes;
  }
  const { totalBytes, availableBytes } = host.heartbeat.memory;
  return Math.min(availableBytes - young, MEMORY_SHARE * totalBytes - reserved);
}

/** Null if the host could begin the task now. */
export function refusal(
  entry: QueueEntry,
  host: FleetHost,
  nowMs: number,
  times: PlacementTimes,
): Check | null {
  const { heartbeat } = host;
  if (nowMs - host.heardAtMs > times.silenceMs) return "offline";
  if (heartbeat.draining) return "draining";
  if (host.wish !== null) return host.wish;
  // No host takes the work of strangers yet.
  if (entry.fork) return "untrusted";
  if (entry.labels !== null)
    for (const [key, value] of Object.entries(entry.labels))
      if (heartbeat.labels[key] !== value) return "labels";
  if (entry.cpus > heartbeat.cpu.cores) return "cpus";
  if (host.reservations.size >= heartbeat.slots.total) return "slots";
  if (effectiveFreeBytes(host, nowMs, times) < entry.memoryBytes) return "memory";
  if (nowMs < host.avoidUntilMs) return "avoided";
  return null;
}
