// Which of the feasible hosts is asked: the policies by their names, all on one seam. Pure; chance is in the situation.
import type { PlacementPolicy } from "../../shared/config/settings.ts";
import type { FleetHost } from "./fleet.ts";
import type { QueueEntry } from "./queue.ts";
import { score } from "./rank.ts";
import type { Situation } from "./situation.ts";

/** Chooses from one or more hosts that could all take the task. */
export type Policy = (candidates: readonly FleetHost[], task: QueueEntry, situation: Situation) => FleetHost;

export const POLICIES: Record<PlacementPolicy, Policy> = {
  resource: (candidates, task, { weights }) => best(candidates, (host) => score(task, host, weights)),
  "round-robin": (candidates) => best(candidates, (host) => -host.chosenAt),
  "least-connections": (candidates) => best(candidates, (host) => -host.running),
  weighted: (candidates) => best(candidates, (host) => -(host.running + 1) / weightOf(host)),
  "power-of-two": (candidates, task, { weights, random }) => {
    const first = Math.floor(random() * candidates.length);
    // Of the others, so that two hosts are compared wherever there are two.
    const second = (first + 1 + Math.floor(random() * (candidates.length - 1))) % candidates.length;
    return best([candidates[first] as FleetHost, candidates[second] as FleetHost], (host) =>
      score(task, host, weights),
    );
  },
};

/** An operator gives a host its weight by the label `weight`; without one it is the number of its slots. */
function weightOf({ heartbeat, slots }: FleetHost): number {
  const weight = Number(heartbeat.labels.weight);
  return weight > 0 ? weight : slots;
}

/** The first of those with the greatest value. */
function best(candidates: readonly FleetHost[], value: (host: FleetHost) => number): FleetHost {
  let found = candidates[0] as FleetHost;
  let greatest = value(found);
  for (let index = 1; index < candidates.length; index++) {
    const host = candidates[index] as FleetHost;
    const its = value(host);
    if (its > greatest) [found, greatest] = [host, its];
  }
  return found;
}
