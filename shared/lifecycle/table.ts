// The lifecycle of a task as a total table: for every state and every fact, what follows. The diagram in
// docs/architecture.md is generated from it.
import type { Fact, FactKind } from "../contracts/fact.ts";
import type { TaskState } from "../contracts/task.ts";

/** What the fold knows of a task. Small on purpose: readers keep what else they need beside it. */
export interface Lifecycle {
  readonly state: TaskState;
  /** Sequence of the last message of any kind about the task, ignored ones included; 0 before the first. */
  readonly lastSequence: number;
  /** Number, host and nonce of the latest attempt. */
  readonly attempt: number;
  readonly hostId: string | null;
  readonly nonce: string | null;
  /** The life and the heartbeat that its `started` names. */
  readonly installation: string;
  readonly boot: number;
  readonly counter: number;
  /** The latest attempt may act: it has neither faulted nor been lost. */
  readonly active: boolean;
  /** Its success still counts: it was cut off at most, and no newer attempt has begun. */
  readonly resultCounts: boolean;
  readonly failures: number;
}

export const UNKNOWN: Lifecycle = {
  state: "unknown",
  lastSequence: 0,
  attempt: 0,
  hostId: null,
  nonce: null,
  installation: "",
  boot: 0,
  counter: 0,
  active: false,
  resultCounts: false,
  failures: 0,
};

const ENDS = new Set<TaskState>(["succeeded", "failed", "cancelled"]);
export const isEnd = (state: TaskState): boolean => ENDS.has(state);

/** Facts that end a task, with the end they bring. */
export const ENDING: Partial<Record<FactKind, TaskState>> = {
  succeeded: "succeeded",
  failed: "failed",
  rejected: "failed",
  cancelled: "cancelled",
};

/** The fact is of the latest attempt, said by the host that runs it. */
function ofLatestAttempt(task: Lifecycle, fact: Fact): boolean {
  return (
    (fact.kind === "succeeded" || fact.kind === "faulted" || fact.kind === "resumed") &&
    fact.body.attempt === task.attempt &&
    fact.speaker === task.hostId &&
    fact.body.nonce === task.nonce
  );
}

const aboutLatestAttempt = (task: Lifecycle, fact: Fact): boolean =>
  "attempt" in fact.body && fact.body.attempt === task.attempt;

interface Rule {
  to: TaskState;
  /** In words, for the diagram. */
  when: string;
  holds(task: Lifecycle, fact: Fact): boolean;
}

/** Cells that need more than state and kind: the state that follows if the rule holds, else ignored. */
export const RULES = {
  nextAttempt: {
    to: "running",
    when: "it is the next attempt",
    holds: (task, fact) => fact.kind === "started" && fact.body.attempt === task.attempt + 1,
  },
  latestSucceeds: {
    to: "succeeded",
    when: "of the latest attempt, which has not faulted",
    holds: (task, fact) => ofLatestAttempt(task, fact) && task.resultCounts,
  },
  activeFaults: {
    to: "faulted",
    when: "of the active attempt",
    holds: (task, fact) => ofLatestAttempt(task, fact) && task.active,
  },
  activeStops: {
    to: "cancelling",
    when: "of the active attempt",
    holds: (task, fact) => ofLatestAttempt(task, fact) && task.active,
  },
  activeResumes: {
    to: "running",
    when: "of the active attempt",
    holds: (task, fact) => ofLatestAttempt(task, fact) && task.active,
  },
  faultRequeued: { to: "queued", when: "about the latest attempt", holds: aboutLatestAttempt },
  faultDeferred: { to: "waiting", when: "about the latest attempt", holds: aboutLatestAttempt },
  faultFails: { to: "failed", when: "about the latest attempt", holds: aboutLatestAttempt },
  lostRequeued: {
    to: "queued",
    when: "the attempt is lost",
    holds: (task, fact) =>
      fact.kind === "requeued" && fact.body.reason === "lost" && aboutLatestAttempt(task, fact),
  },
  lostDeferred: {
    to: "waiting",
    when: "the attempt is lost",
    holds: (task, fact) =>
      fact.kind === "deferred" && fact.body.reason === "lost" && aboutLatestAttempt(task, fact),
  },
  lostFails: {
    to: "failed",
    when: "the attempt is lost",
    holds: (task, fact) => fact.kind === "failed" && fact.body.lost && aboutLatestAttempt(task, fact),
  },
  nothingActs: {
    to: "cancelled",
    when: "no attempt is active, or it is lost",
    holds: (task, fact) =>
      fact.kind === "cancelled" && aboutLatestAttempt(task, fact) && (!task.active || fact.body.lost),
  },
} as const satisfies Record<string, Rule>;

type RuleName = keyof typeof RULES;
export type Cell = TaskState | "ignored" | { rule: RuleName };

const rule = (name: RuleName): Cell => ({ rule: name });
const ENDED: Record<FactKind, Cell> = {
  requested: "ignored",
  started: "ignored",
  succeeded: "ignored",
  faulted: "ignored",
  resumed: "ignored",
  requeued: "ignored",
  deferred: "ignored",
  cancelRequested: "ignored",
  cancelled: "ignored",
  failed: "ignored",
  rejected: "ignored",
};

export const TABLE: Record<TaskState, Record<FactKind, Cell>> = {
  // Nothing valid was said yet: an unreadable request leaves it here, until it is rejected.
  unknown: {
    requested: "queued",
    started: "ignored",
    succeeded: "ignored",
    faulted: "ignored",
    resumed: "ignored",
    requeued: "ignored",
    deferred: "ignored",
    cancelRequested: "ignored",
    cancelled: "ignored",
    failed: "ignored",
    rejected: "failed",
  },
  queued: {
    requested: "ignored",
    started: rule("nextAttempt"),
    // What was finished before the host was cut off is not thrown away.
    succeeded: rule("latestSucceeds"),
    faulted: "ignored",
    resumed: "ignored",
    requeued: "ignored",
    deferred: "ignored",
    cancelRequested: "cancelling",
    cancelled: "ignored",
    failed: "ignored",
    rejected: "failed",
  },
  waiting: {
    requested: "ignored",
    started: "ignored",
    succeeded: rule("latestSucceeds"),
    faulted: "ignored",
    resumed: "ignored",
    requeued: rule("faultRequeued"),
    deferred: "ignored",
    cancelRequested: "cancelling",
    cancelled: "ignored",
    failed: "ignored",
    rejected: "ignored",
  },
  running: {
    requested: "ignored",
    started: "ignored",
    succeeded: rule("latestSucceeds"),
    faulted: rule("activeFaults"),
    resumed: rule("activeResumes"),
    requeued: rule("lostRequeued"),
    deferred: rule("lostDeferred"),
    cancelRequested: "cancelling",
    cancelled: "ignored",
    failed: rule("lostFails"),
    rejected: "ignored",
  },
  faulted: {
    requested: "ignored",
    started: "ignored",
    succeeded: "ignored",
    faulted: "ignored",
    resumed: "ignored",
    requeued: rule("faultRequeued"),
    deferred: rule("faultDeferred"),
    cancelRequested: "cancelling",
    cancelled: "ignored",
    failed: rule("faultFails"),
    rejected: "ignored",
  },
  cancelling: {
    requested: "ignored",
    started: "ignored",
    succeeded: "ignored",
    faulted: rule("activeStops"),
    resumed: "ignored",
    requeued: "ignored",
    deferred: "ignored",
    cancelRequested: "ignored",
    cancelled: rule("nothingActs"),
    failed: "ignored",
    rejected: "ignored",
  },
  succeeded: ENDED,
  failed: ENDED,
  cancelled: ENDED,
};
