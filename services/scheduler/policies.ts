// Which of the feasible hosts is asked: the policies by their names, all on one seam. Pure; chance is in the situation.
import type { PlacementPolicy, PlacementWeights } from "../../shared/config/settings.ts";
import type { FleetHost } from "./fleet-host.ts";
import type { QueueEntry } from "./queue-entry.ts";
import { score } from "./rank.ts";
import type { Situation } from "./situation.ts";

/** Hosts by their places in a list, `count` of them: a scan that copied references would cost twice as much. */
interface Candidates {
  hosts: readonly FleetHost[];
  places: Int32Array;
  count: number;
}

/** Chooses from one or more candidates that could all take the task. */
export type Policy = (candidates: Candidates, task: QueueEntry, situation: Situation) => FleetHost;

/** The first of those with the greatest value. */
const greatest =
  (value: (task: QueueEntry, host: FleetHost, weights: PlacementWeights) => number): Policy =>
  ({ hosts, places, count }, task, { weights }) => {
    let best = hosts[places[0] as number] as FleetHost;
    let most = value(task, best, weights);
    for (let index = 1; index < count; index++) {
      const host = hosts[places[index] as number] as FleetHost;
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
  "power-of-two": ({ hosts, places, count }, task, situation) => {
    const first = Math.floor(situation.random() * count);
    // Of the others, so that two hosts are compared wherever there are two.
    const second = (first + 1 + Math.floor(situation.random() * (count - 1))) % count;
    const pair = Int32Array.of(places[first] as number, places[second] as number);
    return mostRoom({ hosts, places: pair, count: 2 }, task, situation);
  },
};

/** An operator gives a host its weight by the label `weight`; without one it is the number of its slots. */
function weightOf({ heartbeat, slots }: FleetHost): number {
  const weight = Number(heartbeat.labels.weight);
  return weight > 0 ? weight : slots;
}
