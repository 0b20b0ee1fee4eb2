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
  /** Feasible hosts where an attempt of the task has lately failed: taken only if there is no other. */
  penalized: string[];
}

/** What placement takes from the log. */
export interface LogSays {
  brokerNowMs: number;
  /** The host's breaker lets nothing begin there now. */
  isBarred(hostId: string): boolean;
}

/** A task prefers other hosts for so long after an attempt of it failed on one, ms. */
const PENALTY_MS = 600_000;

export function place(
  entry: QueueEntry,
  hosts: Iterable<[string, FleetHost]>,
  nowMs: number,
  times: PlacementTimes,
  { brokerNowMs, isBarred }: LogSays,
): Placement {
  const placement: Placement = {
    hostId: null,
    score: null,
    hosts: 0,
    feasible: 0,
    refusals: {},
    penalized: [],
  };
  let bestIsPenalized = false;
  for (const [hostId, host] of hosts) {
    placement.hosts++;
    const refused = refusal(entry, host, nowMs, times) ?? (isBarred(hostId) ? "breaker" : null);
    if (refused !== null) {
      placement.refusals[refused] = (placement.refusals[refused] ?? 0) + 1;
      continue;
    }
    placement.feasible++;
    const candidate = score(entry, host, nowMs, times);
    const isPenalized =
      brokerNowMs - (entry.failedAtMs?.get(hostId) ?? Number.NEGATIVE_INFINITY) < PENALTY_MS;
    if (isPenalized) placement.penalized.push(hostId);
    const isBetter =
      placement.score === null ||
      (isPenalized === bestIsPenalized ? candidate.total > placement.score.total : bestIsPenalized);
    if (isBetter) {
      bestIsPenalized = isPenalized;
      placement.score = candidate;
      placement.hostId = hostId;
    }
  }
  return placement;
}

const IN_WORDS: Record<Check, string> = {
  offline: "offline",
  draining: "draining",
  cordoned: "cordoned",
  untrusted: "take no work from forks",
  labels: "lack a label",
  cpus: "have too few CPUs",
  slots: "have no free slot",
  memory: "have too little free memory",
  avoided: "refused just now",
  breaker: "have an open breaker",
};

/** The decision in one sentence. */
export function inWords(placement: Placement): string {
  if (placement.hostId !== null && placement.score !== null)
    return `${placement.hostId} has the most room of ${count(placement.feasible, "feasible host")} (score ${placement.score.total.toFixed(2)})${penaltyInWords(placement)}`;
  if (placement.hosts === 0) return "no host has joined the mesh";
  const refused = CHECKS.flatMap((check) => {
    const number = placement.refusals[check];
    return number === undefined ? [] : [`${number} ${IN_WORDS[check]}`];
  });
  return `${count(placement.hosts, "host")}: ${refused.join(", ")}`;
}

function penaltyInWords({ hostId, penalized }: Placement): string {
  if (penalized.length === 0) return "";
  if (hostId !== null && penalized.includes(hostId))
    return ", though an attempt of the task has failed there";
  return `, not counting ${penalized.join(", ")}, where an attempt of the task has failed`;
}

const count = (number: number, noun: string): string => `${number} ${noun}${number === 1 ? "" : "s"}`;

/** `summary`: the decision in words, where it is not about hosts. */
export const toReceipt = (
  entry: QueueEntry,
  placement: Placement,
  at: Date,
  summary = inWords(placement),
): Receipt => ({
  taskId: entry.taskId,
  at: at.toISOString(),
  policy: POLICY,
  hostId: placement.hostId,
  attempt: entry.attempt,
  summary,
  hosts: placement.hosts,
  feasible: placement.feasible,
  refusals: placement.refusals,
  ...(placement.penalized.length === 0 ? {} : { penalized: placement.penalized }),
  ...(placement.score === null ? {} : { score: placement.score }),
});
