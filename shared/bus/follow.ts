// The one way to read a stream as it grows: every message from a sequence on, in order, each once.
import { jetstreamManager } from "@nats-io/jetstream";
import { decodeFact, type Fact, type Malformed } from "../contracts/fact.ts";
import { FoldedLog, type OnFolded } from "../lifecycle/folded-log.ts";
import type { Bus } from "./connect.ts";
import { Follower, type Following, type FollowOptions } from "./follower.ts";
import { TASKS } from "./streams.ts";

export async function follow(bus: Bus, options: FollowOptions): Promise<Following> {
  const manager = await jetstreamManager(bus.connection, { checkAPI: false });
  const follower = new Follower(bus, manager, options);
  await follower.begin();
  return follower;
}

/** Follows the task log from its beginning and folds it. */
export async function followTasks(bus: Bus, onFolded: OnFolded): Promise<Following & { log: FoldedLog }> {
  const log = new FoldedLog(onFolded);
  const following = await followFacts(bus, { from: 1 }, (fact) => log.apply(fact));
  return Object.assign(following, { log });
}

/** Follows the task log, of all tasks or of one, without folding. */
export const followFacts = (
  bus: Bus,
  options: { from: number | "new"; subjects?: string[] },
  onFact: (fact: Fact | Malformed, payload: Uint8Array) => void,
): Promise<Following> =>
  follow(bus, {
    stream: TASKS,
    ...options,
    onMessage: ({ subject, payload, sequence, timeMs }) => {
      const fact = decodeFact(subject, payload, sequence, timeMs);
      if (fact !== null) onFact(fact, payload);
    },
  });
