// Decides where a task goes, or tells why nowhere: feasible → rank. Pure: the clock is an argument.
import type { Receipt } from "../../shared/contracts/receipt.ts";
import { memoryInWords } from "./expectation.ts";
import { CHECKS, type Check, isOpen, isPlain, refusal } from "./feasible.ts";
import type { Fleet } from "./fleet.ts";
import type { FleetHost } from "./fleet-host.ts";
import { POLICIES } from "./policies.ts";
import type { QueueEntry } from "./queue-entry.ts";
import { explainScore } from "./rank.ts";
import type { Situation } from "./situation.ts";

export interface Placement {
  host: FleetHost | null;
  hosts: number;
  feasible: number;
  refusals: Partial<Record<Check, number>>;
  /** Feasible hosts where an attempt of the task has lately failed: taken only if there is no other. */
  penalized: string[];
}

/** A task prefers other hosts for so long after an attempt of it failed on one, ms. */
const PENALTY_MS = 600_000;

const NONE = Object.fromEntries(CHECKS.map((check) => [check, 0])) as Record<Check, number>;

/** Places of hosts in the fleet's list; filled anew by each decision, so that none allocates by the number of hosts. */
let firstChoice = new Int32Array(64);
let secondChoice = new Int32Array(64);

export function place(task: QueueEntry, fleet: Fleet, situation: Situation): Placement {
  const hosts = fleet.regard(task, situation.nowMs);
  if (firstChoice.length < hosts.length) {
    firstChoice = new Int32Array(2 * hosts.length);
    secondChoice = new Int32Array(2 * hosts.length);
  }
  const { memoryBytes, cpus, runner, failedAtMs } = task;
  const runnerBit = runner === null ? 0 : fleet.runnerBit(runner);
  const plain = isPlain(task, situation) && (runner === null || runnerBit !== 0);
  const counts = { ...NONE };
  let first = 0;
  let second = 0;
  for (let index = 0; index < hosts.length; index++) {
    const host = hosts[index] as FleetHost;
    const refused =
      plain && isOpen(host, memoryBytes, cpus, runnerBit, situation) ? null : refusal(task, host, situation);
    if (refused !== null) counts[refused]++;
    else if (failedAtMs !== null && hasLatelyFailed(task, host, situation)) secondChoice[second++] = index;
    else firstChoice[first++] = index;
  }
  const feasible = first + second;
  const choose = POLICIES[situation.policy];
  const host =
    feasible === 0
      ? null
      : first > 0
        ? choose({ hosts, places: firstChoice, count: first }, task, situation)
        : choose({ hosts, places: secondChoice, count: second }, task, situation);
  const refusals: Placement["refusals"] = {};
  if (feasible < hosts.length)
    for (const check of CHECKS) if (counts[check] > 0) refusals[check] = counts[check];
  const penalized =
    second === 0
      ? []
      : Array.from(secondChoice.subarray(0, second), (place) => (hosts[place] as FleetHost).id);
  return { host, hosts: hosts.length, feasible, refusals, penalized };
}

const hasLatelyFailed = ({ failedAtMs }: QueueEntry, { id }: FleetHost, { brokerNowMs }: Situation) =>
  failedAtMs !== null && brokerNowMs - (failedAtMs.get(id) ?? Number.NEGATIVE_INFINITY) < PENALTY_MS;

/** Refusals in words, of one host and of more. */
export const REFUSED: Record<Check, { one: string; more: string }> = {
  offline: { one: "offline", more: "offline" },
  draining: { one: "draining", more: "draining" },
  cordoned: { one: "cordoned", more: "cordoned" },
  withheld: { one: "begins no work now", more: "begin no work now" },
  untrusted: { one: "takes no work from forks", more: "take no work from forks" },
  runner: { one: "lacks the runner", more: "lack the runner" },
  labels: { one: "lacks a label", more: "lack a label" },
  secrets: { one: "lacks a secret for this repository", more: "lack a secret for this repository" },
  cpus: { one: "has too few CPUs", more: "have too few CPUs" },
  disk: { one: "has too little disk left", more: "have too little disk left" },
  held: { one: "makes room for another task", more: "make room for other tasks" },
  slots: { one: "has no free slot", more: "have no free slot" },
  memory: { one: "has too little free memory", more: "have too little free memory" },
  avoided: { one: "refused just now", more: "refused just now" },
  breaker: { one: "has an open breaker", more: "have an open breaker" },
};

/** The decision in one sentence. */
export function inWords(placement: Placement, policy: Situation["policy"]): string {
  const { host, hosts, feasible } = placement;
  if (host !== null)
    return `${host.id} is the best of ${count(feasible, "feasible host")} by ${policy}${penaltyInWords(placement)}`;
  if (hosts === 0) return "no host has joined the mesh";
  const refused = CHECKS.flatMap((check) => {
    const number = placement.refusals[check];
    return number === undefined ? [] : [`${number} ${REFUSED[check][number === 1 ? "one" : "more"]}`];
  });
  return `${count(hosts, "host")}: ${refused.join(", ")}`;
}

function penaltyInWords({ host, penalized }: Placement): string {
  if (penalized.length === 0) return "";
  if (host !== null && penalized.includes(host.id)) return ", though an attempt of the task has failed there";
  return `, not counting ${penalized.join(", ")}, where an attempt of the task has failed`;
}

export const count = (number: number, noun: string): string => `${number} ${noun}${number === 1 ? "" : "s"}`;

/** `summary`: the decision in words, where it is not about hosts. */
export const toReceipt = (
  task: QueueEntry,
  placement: Placement,
  { policy, weights, usual }: Situation,
  at: Date,
  summary = inWords(placement, policy),
): Receipt => ({
  taskId: task.taskId,
  at: at.toISOString(),
  policy,
  hostId: placement.host?.id ?? null,
  attempt: task.attempt,
  summary,
  memory: { bytes: task.memoryBytes, why: memoryInWords(task, usual(task)) },
  hosts: placement.hosts,
  feasible: placement.feasible,
  refusals: placement.refusals,
  ...(placement.penalized.length === 0 ? {} : { penalized: placement.penalized }),
  ...(placement.host === null ? {} : { score: explainScore(task, placement.host, weights) }),
});
