// Every task as the log tells it: those that have not ended, the ones that ended last, and any other by
// reading its facts again. Memory is bounded by what is unfinished.

import type { Priority } from "../../shared/contracts/deploy-request.ts";
import type { Fact, Malformed } from "../../shared/contracts/fact.ts";
import { Breakers } from "../../shared/lifecycle/breakers.ts";
import { fold } from "../../shared/lifecycle/fold.ts";
import { Spending } from "../../shared/lifecycle/spending.ts";
import { isEnd } from "../../shared/lifecycle/table.ts";
import { DeadLetters } from "./dead-letters.ts";
import { newRecord, project, recordOf, type TaskRecord } from "./record.ts";
import { type Overtaken, PullRequests } from "./supersede.ts";

/** Days whose costs are at hand. */
export const DAYS_OF_COSTS = 400;
/** Ended tasks kept at hand for lists. */
export const ENDED_KEPT = 10_000;

export interface LedgerPorts {
  /** Every fact of one task that is on the log. */
  factsOfTask(taskId: string): Promise<(Fact | Malformed)[]>;
}

export class Ledger {
  /** Unfinished tasks, in the order of the log. */
  readonly active = new Map<string, TaskRecord>();
  /** So many of them have each priority. */
  readonly unfinished: Record<Priority, number> = { high: 0, normal: 0, low: 0 };
  readonly #recent = new Map<string, TaskRecord>();
  readonly #ended = new Set<string>();
  /** Ended tasks with facts before their end on the log, and when they ended: the one that ended first is first. */
  readonly #whole = new Map<string, number>();
  readonly #pullRequests = new PullRequests();
  readonly deadLetters = new DeadLetters();
  readonly spending = new Spending(DAYS_OF_COSTS);
  /** Unfinished tasks that a newer one of their pull request has overtaken. */
  readonly overtaken = new Map<string, string>();
  readonly #ports: LedgerPorts;
  #waiters: { until: () => boolean; resolve: () => void }[] = [];
  sequence = 0;
  readonly breakers: Breakers;

  /** `probeAfterMs`: an open breaker waits so long for its first probe. */
  constructor(ports: LedgerPorts, probeAfterMs: number) {
    this.#ports = ports;
    this.breakers = new Breakers(probeAfterMs);
  }

  /** Folds the next fact; tells which tasks have to be looked at. */
  apply(fact: Fact | Malformed): string[] {
    if (fact.sequence <= this.sequence) return [];
    this.sequence = fact.sequence;
    const touched = this.#ended.has(fact.taskId) ? [] : this.#fold(fact);
    if (this.#waiters.length > 0) this.#release();
    return touched;
  }

  #fold(fact: Fact | Malformed): string[] {
    const { taskId } = fact;
    const known = this.active.get(taskId);
    if (known !== undefined) this.unfinished[known.view.priority]--;
    const before = known ?? newRecord(fact);
    const folded = fold(before.lifecycle, fact);
    const record = project(before, fact, folded);
    const { task: after, counted } = folded;
    this.breakers.apply({ fact, before: before.lifecycle, after, counted }, record.view.repository);
    const { view, runner } = record;
    const work = { repository: view.repository || null, runner };
    this.spending.apply({ fact, before: before.lifecycle, after, counted }, work);
    const isPurged = before.lifecycle.lastSequence === 0;
    if (folded.counted && fact.body !== null && !(isPurged && fact.kind === "failed"))
      this.deadLetters.apply(fact, record.view.repository);
    if (isEnd(record.lifecycle.state)) {
      this.#end(record);
      if (!isPurged) this.#whole.set(taskId, fact.timeMs);
      return [taskId];
    }
    this.active.set(taskId, record);
    this.unfinished[record.view.priority]++;
    if (fact.kind !== "requested" || fact.body === null || !folded.counted) return [taskId];
    return [taskId, ...this.#standing(record, fact.body.supersede !== false)];
  }

  /** A new request of a pull request may overtake others. */
  #standing({ view, pullRequestUpdatedAtMs }: TaskRecord, supersede: boolean): string[] {
    if (view.prNumber === null) return [];
    const found: Overtaken[] = this.#pullRequests.requested({
      taskId: view.taskId,
      repository: view.repository,
      prNumber: view.prNumber,
      sha: view.sha,
      supersede,
      updatedAtMs: pullRequestUpdatedAtMs,
    });
    for (const { taskId, by } of found) this.overtaken.set(taskId, by);
    return found.map(({ taskId }) => taskId);
  }

  #end(record: TaskRecord): void {
    const { taskId, repository, prNumber } = record.view;
    this.active.delete(taskId);
    this.overtaken.delete(taskId);
    this.#ended.add(taskId);
    this.#recent.set(taskId, record);
    if (prNumber !== null) this.#pullRequests.ended({ taskId, repository, prNumber });
    if (this.#recent.size > ENDED_KEPT) {
      const [oldest] = this.#recent.keys();
      if (oldest !== undefined) this.#recent.delete(oldest);
    }
  }

  /** The task that ended first of those that the log still tells more of than the end; null if there is none. */
  oldestWhole(): { taskId: string; endedAtMs: number } | null {
    for (const [taskId, endedAtMs] of this.#whole) return { taskId, endedAtMs };
    return null;
  }

  /** What is kept on the log for good of a task that ended long ago: who asks is told what that says. */
  retained(taskId: string, kept: "whole" | "end"): void {
    this.#whole.delete(taskId);
    if (kept === "whole") return;
    this.#recent.delete(taskId);
    this.deadLetters.drop(taskId);
  }

  /** What the log says of a task, as far as it has been followed; null if it has never been named. */
  async find(taskId: string): Promise<TaskRecord | null> {
    const record = this.active.get(taskId) ?? this.#recent.get(taskId);
    if (record !== undefined || !this.#ended.has(taskId)) return record ?? null;
    return recordOf(await this.#ports.factsOfTask(taskId));
  }

  /** Unfinished and lately ended tasks, the newest request first. */
  newestFirst(): TaskRecord[] {
    return [...this.#recent.values(), ...this.active.values()].sort(
      (one, other) => other.sequence - one.sequence,
    );
  }

  /** Resolves when the condition holds, looked at after each message; false at the deadline. */
  async until(condition: () => boolean, deadlineMs: number): Promise<boolean> {
    if (condition()) return true;
    const { promise, resolve } = Promise.withResolvers<void>();
    const waiter = { until: condition, resolve };
    this.#waiters.push(waiter);
    const timer = setTimeout(resolve, deadlineMs);
    await promise;
    clearTimeout(timer);
    this.#waiters = this.#waiters.filter((other) => other !== waiter);
    return condition();
  }

  #release(): void {
    for (const waiter of this.#waiters) if (waiter.until()) waiter.resolve();
  }
}
