// Which hosts could take a task at all, and why the others could not. Pure.
import type { FleetHost } from "./fleet.ts";
import type { QueueEntry } from "./queue.ts";
import type { Situation } from "./situation.ts";

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

/** Of a host's memory, this share is given out at most. */
const MEMORY_SHARE = 0.95;

/** Bytes a new attempt may count on: what is measured, less what young attempts will still take. */
export function effectiveFreeBytes({ heartbeat, reserved, young }: FleetHost): number {
  const { totalBytes, availableBytes } = heartbeat.memory;
  return Math.min(availableBytes - young.memoryBytes, MEMORY_SHARE * totalBytes - reserved.memoryBytes);
}

/** Null if the host could begin the task now. */
export function refusal(entry: QueueEntry, host: FleetHost, situation: Situation): Check | null {
  const { heartbeat } = host;
  if (situation.nowMs - host.heardAtMs > situation.silenceMs) return "offline";
  if (heartbeat.draining) return "draining";
  if (host.wish !== null) return host.wish;
  // No host takes the work of strangers yet.
  if (entry.fork) return "untrusted";
  if (entry.labels !== null)
    for (const [key, value] of Object.entries(entry.labels))
      if (heartbeat.labels[key] !== value) return "labels";
  if (entry.cpus > heartbeat.cpu.cores) return "cpus";
  if (host.reservations.size >= heartbeat.slots.total) return "slots";
  if (effectiveFreeBytes(host) < entry.memoryBytes) return "memory";
  if (situation.nowMs < host.avoidUntilMs) return "avoided";
  if (situation.barred.size > 0 && situation.barred.has(host.id)) return "breaker";
  return null;
}
