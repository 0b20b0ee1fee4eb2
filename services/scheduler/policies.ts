// Which of the feasible hosts is asked: the policies by their names, all on one seam. Pure; chance is in the situation.
import type { PlacementPolicy, PlacementWeights } from "../../shared/config/settings.ts";
import type { FleetHost } from "./fleet-host.ts";
import type { QueueEntry } from "./queue-entry.ts";
import { score } from "./rank.ts";
import type { Situation } from "./situation.ts";

/** Chooses from the first `count` candidates, one or more, that could all take the task. */
export type Policy = (
  candidates: readonly FleetHost[],
  count: number,
  task: QueueEntry,
  situation: Situation,
) => FleetHost;

/** The first of those with the greatest value. */
const greatest =
  (value: (task: QueueEntry, host: FleetHost, weights: PlacementWeights) => number): Policy =>
  (candidates, count, task, { weights }) => {
    let best = candidates[0] as FleetHost;
    let most = value(task, best, weights);
    for (let index = 1; index < count; index++) {
      const host = candidates[index] as FleetHost;
      const its = value(task, host, weights);
      if (its <= most) continue;
      best = host;
      most = its;
    }
    return best;
  };

const mostRoom = greatest(score);

export const POLICIES: Record<PlacementPolicy, Policy> = {
  resource: mostRoom,
  "round-robin": greatest((_, host) => -host.chosenAt),
  "least-connections": greatest((_, host) => -host.running),
  weighted: greatest((_, host) => -(host.running + 1) / weightOf(host)),
  "power-of-two": (candidates, count, task, situation) => {
    const first = Math.floor(situation.random() * count);
    // Of the others, so that two hosts are compared wherever there are two.
    const second = (first + 1 + Math.floor(situation.random() * (count - 1))) % count;
    const pair = [candidates[first] as FleetHost, candidates[second] as FleetHost];
    return mostRoom(pair, 2, task, situation);
  },
};

/** An operator gives a host its weight by the label `weight`; without one it is the number of its slots. */
function weightOf({ heartbeat, slots }: FleetHost): number {
  const weight = Number(heartbeat.labels.weight);
  return weight > 0 ? weight : slots;
}
