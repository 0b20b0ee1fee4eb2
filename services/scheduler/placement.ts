// Decides where a task goes, or tells why nowhere: feasible → rank. Pure: the clock is an argument.
import type { Receipt } from "../../shared/contracts/receipt.ts";
import { CHECKS, type Check, type PlacementTimes, refusal } from "./feasible.ts";
import type { FleetHost } from "./fleet.ts";
import type { QueueEntry } from "./queue.ts";
import { type Score, score } from "./rank.ts";

const POLICY = "resource";

export interface Placement {
  hostId: string | null;
  score: Score | null;
  hosts: number;
  feasible: number;
  refusals: Partial<Record<Check, number>>;
}

export function place(
  entry: QueueEntry,
  hosts: Iterable<[string, FleetHost]>,
  nowMs: number,
  times: PlacementTimes,
): Placement {
  const placement: Placement = { hostId: null, score: null, hosts: 0, feasible: 0, refusals: {} };
  for (const [hostId, host] of hosts) {
    placement.hosts++;
    const refused = refusal(entry, host, nowMs, times);
    if (refused !== null) {
      placement.refusals[refused] = (placement.refusals[refused] ?? 0) + 1;
      continue;
    }
    placement.feasible++;
    const candidate = score(entry, host, nowMs, times);
    if (placement.score === null || candidate.total > placement.score.total) {
      placement.score = candidate;
      placement.hostId = hostId;
    }
  }
  return placement;
}

const IN_WORDS: Record<Check, string> = {
  offline: "offline",
  draining: "draining",
  untrusted: "take no work from forks",
  labels: "lack a label",
  cpus: "have too few CPUs",
  slots: "have no free slot",
  memory: "have too little free memory",
  avoided: "refused just now",
};

/** The decision in one sentence. */
export function inWords(placement: Placement): string {
  if (placement.hostId !== null && placement.score !== null)
    return `${placement.hostId} has the most room of ${count(placement.feasible, "feasible host")} (score ${placement.score.total.toFixed(2)})`;
  if (placement.hosts === 0) return "no host has joined the mesh";
  const refused = CHECKS.flatMap((check) => {
    const number = placement.refusals[check];
    return number === undefined ? [] : [`${number} ${IN_WORDS[check]}`];
  });
  return `${count(placement.hosts, "host")}: ${refused.join(", ")}`;
}

const count = (number: number, noun: string): string => `${number} ${noun}${number === 1 ? "" : "s"}`;

export const toReceipt = (entry: QueueEntry, placement: Placement, at: Date): Receipt => ({
  taskId: entry.taskId,
  at: at.toISOString(),
  policy: POLICY,
  hostId: placement.hostId,
  attempt: entry.attempt,
  summary: inWords(placement),
  hosts: placement.hosts,
  feasible: placement.feasible,
  refusals: placement.refusals,
  ...(placement.score === null ? {} : { score: placement.score }),
});
