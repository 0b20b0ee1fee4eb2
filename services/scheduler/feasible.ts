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

/** Null if the host could begin the task now. */
export function refusal(task: QueueEntry, host: FleetHost, situation: Situation): Check | null {
  if (situation.nowMs - host.heardAtMs > situation.silenceMs) return "offline";
  if (host.closed !== null) return host.closed;
  // No host takes the work of strangers yet.
  if (task.fork) return "untrusted";
  if (task.labels !== null && !carries(host, task.labels)) return "labels";
  if (task.cpus > host.cores) return "cpus";
  if (host.running >= host.slots) return "slots";
  if (host.freeBytes < task.memoryBytes) return "memory";
  if (situation.nowMs < host.avoidUntilMs) return "avoided";
  if (situation.barred.size > 0 && situation.barred.has(host.id)) return "breaker";
  return null;
}

function carries({ heartbeat }: FleetHost, labels: Record<string, string>): boolean {
  for (const [key, value] of Object.entries(labels)) if (heartbeat.labels[key] !== value) return false;
  return true;
}
