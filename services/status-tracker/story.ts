// What became of each attempt of a task, from its facts. Pure: the same for every reader of the log.
import type { FailedAttempt } from "../../shared/contracts/api.ts";
import { type Fact, failureOf, type Malformed } from "../../shared/contracts/fact.ts";
import { fold } from "../../shared/lifecycle/fold.ts";
import { UNKNOWN } from "../../shared/lifecycle/table.ts";

const iso = (timeMs: number): string => new Date(timeMs).toISOString();

/** Every attempt that faulted or was lost, in order. */
export function failedAttempts(facts: Iterable<Fact | Malformed>): FailedAttempt[] {
  const attempts: FailedAttempt[] = [];
  let task = UNKNOWN;
  let startedAtMs = 0;
  for (const fact of facts) {
    const before = task;
    const folded = fold(before, fact);
    task = folded.task;
    if (!folded.counted || fact.body === null) continue;
    if (fact.kind === "started") startedAtMs = fact.timeMs;
    const failure = before.active && !task.active ? failureOf(fact) : null;
    if (failure === null || before.hostId === null) continue;
    attempts.push({
      attempt: before.attempt,
      hostId: before.hostId,
      startedAt: iso(startedAtMs),
      endedAt: iso(fact.timeMs),
      category: failure.category,
      message: failure.message,
    });
  }
  return attempts;
}
