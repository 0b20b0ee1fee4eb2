// How good a feasible host is for a task: terms between 0 and 1, higher is better, weighted by the operator. Pure.
import type { PlacementWeights } from "../../shared/config/settings.ts";
import type { FleetHost } from "./fleet-host.ts";
import type { QueueEntry } from "./queue-entry.ts";
import { OVERUSE } from "./room.ts";

type Term = (task: QueueEntry, host: FleetHost) => number;

const TERMS = {
  /**
   * Of what may turn out to be used besides, the share that is left once the task runs there: by attempts whose use is
   * not measured yet half of what they asked for, and by the owner a little of the machine. Beyond that more memory
   * hardly helps, and the other terms decide (`docs/placement.md`, Simulation).
   */
  memory: (task, host) => {
    const left = host.freeBytes - task.memoryBytes;
    const unknown = host.unknownBytes + OVERUSE * task.memoryBytes;
    return 0.9 * Math.min(1, left / unknown) + (0.1 * left) / host.totalBytes;
  },
  /** The same of its cores, of which less than none may be left. */
  cpu: (task, host) => Math.max(0, host.freeCpus - task.cpus) / host.cores,
  slots: (_, host) => host.slotShare,
  /** Of its cores, as the machine says: it tells two kinds of machine apart, and no more. */
  speed: (_, host) => host.speed,
  /** It keeps a clone of the task's repository. */
  warm: (_, host) => host.warm,
  /** Few attempts of the repository run there: one host that fails, or is slow, does not hold up all of them. */
  spread: (_, host) => (host.same === 0 ? 1 : 1 - host.same / host.slots),
} as const satisfies Record<keyof PlacementWeights, Term>;

/** Allocates nothing: it is the inside of every scan. */
export const score = (task: QueueEntry, host: FleetHost, weights: PlacementWeights): number =>
  weights.memory * TERMS.memory(task, host) +
  weights.cpu * TERMS.cpu(task, host) +
  weights.slots * TERMS.slots(task, host) +
  weights.speed * TERMS.speed(task, host) +
  weights.warm * TERMS.warm(task, host) +
  weights.spread * TERMS.spread(task, host);

/** The terms by name, and their weighted sum as `total`: for whoever asks why. */
export const explainScore = (
  task: QueueEntry,
  host: FleetHost,
  weights: PlacementWeights,
): Record<keyof PlacementWeights | "total", number> => ({
  memory: TERMS.memory(task, host),
  cpu: TERMS.cpu(task, host),
  slots: TERMS.slots(task, host),
  speed: TERMS.speed(task, host),
  warm: TERMS.warm(task, host),
  spread: TERMS.spread(task, host),
  total: score(task, host, weights),
});
