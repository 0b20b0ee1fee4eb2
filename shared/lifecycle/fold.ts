// The fold: what a task is, from the facts about it in their order on the log. It reads no clock, no
// configuration and no randomness, so every reader of one log comes to the same state.
import type { Fact, Malformed } from "../contracts/fact.ts";
import { ENDING, isEnd, type Lifecycle, RULES, TABLE, UNKNOWN } from "./table.ts";

export interface Folded {
  task: Lifecycle;
  /** False for what does not fit: it only moved `lastSequence`. */
  counted: boolean;
}

/** Folds the next message about a task (its sequence must exceed the last one folded). */
export function fold(task: Lifecycle, fact: Fact | Malformed): Folded {
  const ignored = (): Folded => ({ task: { ...task, lastSequence: fact.sequence }, counted: false });
  if (fact.body === null || isEnd(task.state)) return ignored();
  const end = ENDING[fact.kind];
  // Facts before it were purged: the end stands for them.
  if (end !== undefined && fact.body.after > task.lastSequence && fact.body.after < fact.sequence)
    return { task: enter(task, fact, end), counted: true };
  const cell = TABLE[task.state][fact.kind];
  if (cell === "ignored") return ignored();
  if (typeof cell === "string") return { task: enter(task, fact, cell), counted: true };
  const rule = RULES[cell.rule];
  return rule.holds(task, fact) ? { task: enter(task, fact, rule.to), counted: true } : ignored();
}

/** Everything said about one task, folded. */
export const foldAll = (facts: Iterable<Fact | Malformed>): Lifecycle => {
  let task = UNKNOWN;
  for (const fact of facts) task = fold(task, fact).task;
  return task;
};

function enter(task: Lifecycle, fact: Fact, state: Lifecycle["state"]): Lifecycle {
  const next = { ...task, state, lastSequence: fact.sequence };
  switch (fact.kind) {
    case "started":
      return {
        ...next,
        attempt: fact.body.attempt,
        hostId: fact.speaker,
        nonce: fact.body.nonce,
        installation: fact.body.installation,
        boot: fact.body.boot,
        counter: fact.body.counter,
        active: true,
        resultCounts: true,
      };
    case "succeeded":
      return {
        ...next,
        attempt: fact.body.attempt,
        hostId: fact.speaker,
        nonce: fact.body.nonce,
        active: false,
        resultCounts: false,
      };
    case "faulted":
      return { ...next, active: false, resultCounts: false };
    case "requeued":
    case "deferred":
      // A lost attempt may not act any more; what it had finished still counts.
      return { ...next, active: false, failures: fact.body.failures };
    case "failed":
      return {
        ...next,
        ...named(fact.body),
        failures: fact.body.failures,
        active: false,
        resultCounts: false,
      };
    case "cancelled":
      return { ...next, ...named(fact.body), active: false, resultCounts: false };
    default:
      return next;
  }
}

/** An end names attempt, host and nonce, so that it stands alone after a purge. */
const named = (body: { attempt: number; hostId: string | null; nonce: string | null }) => ({
  attempt: body.attempt,
  hostId: body.hostId,
  nonce: body.nonce,
});
