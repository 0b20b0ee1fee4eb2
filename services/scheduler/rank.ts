// How good a feasible host is for a task: terms between 0 and 1, higher is better, weighted by the operator. Pure.
import type { PlacementWeights } from "../../shared/config/settings.ts";
import { effectiveFreeBytes } from "./feasible.ts";
import type { FleetHost } from "./fleet.ts";
import type { QueueEntry } from "./queue.ts";

type Term = (task: QueueEntry, host: FleetHost) => number;

const TERMS = {
  /** Share of its memory that is left once the task runs there. */
  memory: (task, host) => (effectiveFreeBytes(host) - task.memoryBytes) / host.heartbeat.memory.totalBytes,
  /** The same of its cores: as measured, whoever uses them, less what young attempts will take. */
  cpu: (task, { heartbeat: { cpu }, reserved, young }) =>
    Math.max(0, Math.min(cpu.cores * (1 - cpu.busy) - young.cpus, cpu.cores - reserved.cpus) - task.cpus) /
    cpu.cores,
  slots: (_, { reservations, heartbeat }) => 1 - (reservations.size + 1) / heartbeat.slots.total,
  /** Few attempts of the task's repository run there: one host that fails, or is slow, does not hold up all of them. */
  spread: (task, { repositories, heartbeat }) =>
    1 - (repositories.size === 0 ? 0 : (repositories.get(task.repository) ?? 0) / heartbeat.slots.total),
} as const satisfies Record<keyof PlacementWeights, Term>;

/** Allocates nothing: it is the inside of every scan. */
export const score = (task: QueueEntry, host: FleetHost, weights: PlacementWeights): number =>
  weights.memory * TERMS.memory(task, host) +
  weights.cpu * TERMS.cpu(task, host) +
  weights.slots * TERMS.slots(task, host) +
  weights.spread * TERMS.spread(task, host);

/** The terms by name, and their weighted sum as `total`: for whoever asks why. */
export const explainScore = (
  task: QueueEntry,
  host: FleetHost,
  weights: PlacementWeights,
): Record<string, number> => ({
  ...Object.fromEntries(Object.entries(TERMS).map(([name, term]) => [name, term(task, host)])),
  total: score(task, host, weights),
});
