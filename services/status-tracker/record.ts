// What the tracker knows of a task beside its fold: the view that people are shown, and the numbers its
// decisions need. Pure: a projection of the facts, in the order of the log.
import type { Allowance } from "../../shared/contracts/budget.ts";
import {
  budgetOf,
  Priority,
  REQUEST_DEFAULTS,
  type RunnerName,
  runnerOf,
} from "../../shared/contracts/deploy-request.ts";
import type { Fact, Malformed } from "../../shared/contracts/fact.ts";
import type { Failure } from "../../shared/contracts/failure.ts";
import type { TaskView } from "../../shared/contracts/task.ts";
import { type Amount, add, nothing } from "../../shared/lifecycle/amount.ts";
import { type Folded, fold } from "../../shared/lifecycle/fold.ts";
import { usedIn } from "../../shared/lifecycle/spending.ts";
import { isEnd, type Lifecycle, UNKNOWN } from "../../shared/lifecycle/table.ts";

export interface TaskRecord {
  view: TaskView;
  lifecycle: Lifecycle;
  /** Sequence of its first message: the order in lists. */
  sequence: number;
  timeoutMs: number;
  fork: boolean;
  runner: RunnerName | null;
  /** What its request lets its agents use in all attempts; null if it says nothing of that. */
  budget: Allowance | null;
  /** What its attempts have used, as far as they told. */
  used: Amount;
  /** Of the attempt that faulted last. */
  failure: Failure | null;
  /** Why its request cannot be read; null if it can. */
  malformed: string | null;
  /** Broker's times, ms. */
  startedAtMs: number;
  waitingUntilMs: number;
  pullRequestUpdatedAtMs: number | null;
}

const iso = (timeMs: number): string => new Date(timeMs).toISOString();

const emptyView = (taskId: string): TaskView => ({
  taskId,
  type: "unknown",
  state: "unknown",
  priority: "normal",
  attempt: 0,
  hostId: null,
  nonce: null,
  active: false,
  failures: 0,
  maxAttempts: REQUEST_DEFAULTS.maxAttempts,
  repository: "",
  branch: "",
  sha: "",
  prNumber: null,
  result: null,
  push: null,
  failure: null,
  reason: null,
  supersededBy: null,
  retryOf: null,
  requestedAt: null,
  startedAt: null,
  waitingUntil: null,
  endedAt: null,
  lastSequence: 0,
});

/** A task of which nothing has been folded. */
export const newRecord = (fact: Fact | Malformed): TaskRecord => ({
  view: emptyView(fact.taskId),
  lifecycle: UNKNOWN,
  sequence: fact.sequence,
  timeoutMs: REQUEST_DEFAULTS.timeoutMs,
  fork: false,
  runner: null,
  budget: null,
  used: nothing(),
  failure: null,
  malformed: null,
  startedAtMs: 0,
  waitingUntilMs: 0,
  pullRequestUpdatedAtMs: null,
});

/** The record after one more fact, folded already. */
export function project(record: TaskRecord, fact: Fact | Malformed, { task, counted }: Folded): TaskRecord {
  const next: TaskRecord = {
    ...record,
    lifecycle: task,
    view: {
      ...record.view,
      state: task.state,
      attempt: task.attempt,
      hostId: task.hostId,
      nonce: task.nonce,
      active: task.active,
      failures: task.failures,
      lastSequence: task.lastSequence,
    },
  };
  if (fact.body === null) {
    if (fact.kind === "requested" && task.state === "unknown") next.malformed = fact.problem;
    return next;
  }
  if (!counted) return next;
  Object.assign(next.view, changes(next, fact));
  if (isEnd(task.state)) {
    next.view.endedAt = iso(fact.timeMs);
    if (task.state !== "succeeded") next.view.push = null;
    if (record.lifecycle.lastSequence === 0) next.view.reason ??= ONLY_ITS_END;
  }
  return next;
}

const ONLY_ITS_END = "only its end is still kept: it ended long ago";

/** What a counted fact changes in the view; its numbers are set on the record. */
function changes(record: TaskRecord, fact: Fact): Partial<TaskView> {
  switch (fact.kind) {
    case "requested": {
      const { body } = fact;
      record.timeoutMs = body.timeoutMs ?? REQUEST_DEFAULTS.timeoutMs;
      record.fork = body.fork === true;
      record.runner = runnerOf(body);
      record.budget = budgetOf(body);
      record.pullRequestUpdatedAtMs = body.pullRequestUpdatedAt
        ? Date.parse(body.pullRequestUpdatedAt)
        : null;
      return {
        type: body.type,
        // The subject says it: a request published by hand may leave it out of its body.
        priority: Priority.parse(fact.speaker),
        maxAttempts: body.maxAttempts ?? REQUEST_DEFAULTS.maxAttempts,
        repository: body.repository,
        branch: body.branch,
        sha: body.sha,
        prNumber: body.prNumber ?? null,
        retryOf: body.retryOf ?? null,
        push: body.push === true ? { state: "wanted" } : null,
        requestedAt: iso(fact.timeMs),
      };
    }
    case "started":
      record.startedAtMs = fact.timeMs;
      return { startedAt: iso(fact.timeMs), waitingUntil: null, reason: null };
    case "succeeded":
      return { result: fact.body.result, failure: null, reason: null, waitingUntil: null };
    case "faulted":
      record.failure = fact.body.failure;
      record.used = add({ ...record.used }, usedIn(fact) ?? nothing(), 1);
      return { failure: told(fact.body.failure), result: fact.body.result ?? null };
    case "requeued":
      return {
        waitingUntil: null,
        reason: fact.body.reason === "due" ? null : fact.body.reason,
        ...(fact.body.failure ? { failure: told(fact.body.failure) } : {}),
      };
    case "deferred":
      record.waitingUntilMs = fact.timeMs + fact.body.delayMs;
      return {
        waitingUntil: iso(record.waitingUntilMs),
        reason: `${fact.body.reason}: resumes at ${iso(record.waitingUntilMs)}`,
        ...(fact.body.failure ? { failure: told(fact.body.failure) } : {}),
      };
    case "cancelRequested":
      return { reason: fact.body.reason, supersededBy: fact.body.supersededBy ?? null, waitingUntil: null };
    case "cancelled":
      return { reason: fact.body.reason, supersededBy: fact.body.supersededBy ?? record.view.supersededBy };
    case "failed":
      return { failure: fact.body.failure, reason: fact.body.exhausted ? "no attempts are left" : null };
    case "rejected":
      return { failure: { category: "rejected", message: fact.body.message }, reason: fact.body.message };
    default:
      return {};
  }
}

const told = ({ category, message }: Failure) => ({ category, message });

/** The record of a task from everything the log says about it; null if nothing. */
export function recordOf(facts: Iterable<Fact | Malformed>): TaskRecord | null {
  let record: TaskRecord | null = null;
  for (const fact of facts) {
    record ??= newRecord(fact);
    record = project(record, fact, fold(record.lifecycle, fact));
  }
  return record;
}
