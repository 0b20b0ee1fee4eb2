// Which hosts could take a task at all, and why the others could not. Pure.
import { meets } from "../../shared/contracts/constraint.ts";
import { lackingSecrets } from "../../shared/contracts/secret.ts";
import type { FleetHost } from "./fleet-host.ts";
import type { QueueEntry } from "./queue-entry.ts";
import type { Situation } from "./situation.ts";

/** The checks in the order they are made: the first that fails is the host's refusal. */
export const CHECKS = [
  "offline",
  "draining",
  "cordoned",
  "withheld",
  "untrusted",
  "runner",
  "labels",
  "secrets",
  "cpus",
  "disk",
  "held",
  "slots",
  "memory",
  "avoided",
  "breaker",
] as const;
export type Check = (typeof CHECKS)[number];

/** Tasks for which `isOpen` says enough: most of them. */
export const isPlain = ({ fork, constraints, secrets }: QueueEntry, { barred }: Situation): boolean =>
  !fork && constraints === null && secrets === null && barred.size === 0;

/** True of most hosts that `refusal` refuses nothing to a plain task, in a few comparisons; of others that has to be asked. */
export const isOpen = (
  host: FleetHost,
  memoryBytes: number,
  cpus: number,
  runnerBit: number,
  { nowMs, silenceMs }: Situation,
): boolean =>
  host.openFromMs <= nowMs &&
  nowMs - host.heardAtMs <= silenceMs &&
  host.freeBytes >= memoryBytes &&
  host.cores >= cpus &&
  (host.runnerBits & runnerBit) === runnerBit;

/** Null if the host could begin the task now. */
export function refusal(task: QueueEntry, host: FleetHost, situation: Situation): Check | null {
  if (situation.nowMs - host.heardAtMs > situation.silenceMs) return "offline";
  if (host.closed !== null) return host.closed;
  if (task.fork && !host.takesStrangers) return "untrusted";
  if (task.runner !== null && !host.heartbeat.runners.includes(task.runner)) return "runner";
  if (task.constraints !== null && !task.constraints.every((one) => meets(host.heartbeat, one)))
    return "labels";
  if (task.secrets !== null && lackingSecrets(task.secrets, host.heartbeat.secrets).length > 0)
    return "secrets";
  if (task.cpus > host.cores) return "cpus";
  if (host.isDiskFull) return "disk";
  if (situation.nowMs < host.heldUntilMs && host.heldFor !== task.taskId) return "held";
  if (host.running >= host.slots) return "slots";
  if (host.freeBytes < task.memoryBytes) return "memory";
  if (situation.nowMs < host.avoidUntilMs) return "avoided";
  if (situation.barred.size > 0 && situation.barred.has(host.id)) return "breaker";
  return null;
}
