// Which attempts of low tasks have to go so that an urgent task fits: on one host, those that lose the least work.
// Pure; it is asked only where the operator allows it, and the log alone says that an attempt is over.
import type { StopOrder } from "../../shared/contracts/order.ts";
import { refusal } from "./feasible.ts";
import type { FleetHost } from "./fleet-host.ts";
import type { QueueEntry } from "./queue-entry.ts";
import type { Situation } from "./situation.ts";

/** A task that was stopped so often is left alone. */
const STOPPED_MAX = 2;

export interface Sacrifice {
  hostId: string;
  stops: StopOrder[];
}

/** Null if the task fits somewhere as it is, or room is not what it lacks, or nobody gives way. */
export function sacrifice(
  task: QueueEntry,
  hosts: readonly FleetHost[],
  situation: Situation,
): Sacrifice | null {
  let best: (Sacrifice & { lostMs: number }) | null = null;
  for (const host of hosts) {
    const refused = refusal(task, host, situation);
    if (refused === null) return null;
    if ((refused !== "slots" && refused !== "memory") || situation.nowMs < host.heldUntilMs) continue;
    const found = onHost(host, task, situation);
    if (found !== null && (best === null || found.lostMs < best.lostMs)) best = found;
  }
  return best;
}

function onHost(host: FleetHost, task: QueueEntry, { brokerNowMs }: Situation) {
  const low = [...host.reservations]
    .filter(([, { priority, preempted }]) => priority === "low" && preempted < STOPPED_MAX)
    .sort(([, one], [, other]) => other.startedAtMs - one.startedAtMs);
  const stops: StopOrder[] = [];
  let freeBytes = host.freeBytes;
  let lostMs = 0;
  for (const [taskId, { attempt, memoryBytes, startedAtMs }] of low) {
    stops.push({ taskId, attempt, reason: "preempted" });
    freeBytes += memoryBytes;
    lostMs += brokerNowMs - startedAtMs;
    if (freeBytes >= task.memoryBytes && host.running - stops.length < host.slots)
      return { hostId: host.id, stops, lostMs };
  }
  return null;
}
