// What has to be said or done about a task now. Pure: one function for events and for the sweep, so that a
// lost message costs time and never correctness.
import type { RetryTable } from "../../shared/config/retry-table.ts";
import type { Budget, Settings } from "../../shared/config/settings.ts";
import { isAgent } from "../../shared/contracts/deploy-request.ts";
import type { NewFact } from "../../shared/contracts/fact.ts";
import type { Failure } from "../../shared/contracts/failure.ts";
import { CONTROL } from "../../shared/contracts/ids.ts";
import type { StopOrder } from "../../shared/contracts/order.ts";
import { microUsd, usdOf } from "../../shared/lifecycle/amount.ts";
import type { TaskRecord } from "./record.ts";
import { afterFailure } from "./retry.ts";

export interface Situation {
  /** The broker's clock, ms since the epoch: facts carry its times. */
  brokerNowMs: number;
  /** The attempt's host is gone for certain. */
  lost: "absent" | "silent" | null;
  /** A host may take the work of strangers: one says so, or it is too early to say that none does. */
  takesStrangers: boolean;
  /** Between 0 and 1. */
  chance: number;
  settings: Settings;
  /** The broker's time at which the task's host has to be empty; null for never. */
  emptyAtMs: number | null;
  /** The task that overtook this one. */
  supersededBy: string | null;
  retries: RetryTable;
}

export type Decision =
  | { act: "say"; fact: NewFact }
  | { act: "stop"; hostId: string; order: StopOrder }
  | { act: "nothing" };

const NOTHING: Decision = { act: "nothing" };

export function decide(record: TaskRecord, situation: Situation): Decision {
  const { lifecycle, view } = record;
  const { taskId } = view;
  const after = lifecycle.lastSequence;
  const say = (fact: Pick<NewFact, "kind" | "body">): Decision => ({
    act: "say",
    fact: { taskId, speaker: CONTROL, ...fact } as NewFact,
  });

  if (
    situation.supersededBy !== null &&
    ["queued", "waiting", "running", "faulted"].includes(lifecycle.state)
  )
    return say({
      kind: "cancelRequested",
      body: {
        after,
        reason: `superseded by task ${situation.supersededBy}`,
        supersededBy: situation.supersededBy,
      },
    });

  switch (lifecycle.state) {
    case "unknown":
      return record.malformed === null
        ? NOTHING
        : say({ kind: "rejected", body: { after, message: record.malformed } });
    case "queued":
      if (!record.fork || situation.takesStrangers) return NOTHING;
      return say({
        kind: "rejected",
        body: {
          after,
          message: "the pull request comes from a fork, and no host of this mesh takes the work of strangers",
        },
      });
    case "waiting":
      if (situation.brokerNowMs < record.waitingUntilMs) return NOTHING;
      return say({
        kind: "requeued",
        body: { after, attempt: lifecycle.attempt, failures: lifecycle.failures, reason: "due" },
      });
    case "faulted":
      return say(followUp(record, record.failure ?? UNEXPLAINED, false, situation));
    case "running":
      if (situation.lost !== null)
        return say(followUp(record, lostFailure(record, situation.lost), true, situation));
      if (situation.emptyAtMs !== null && situation.brokerNowMs >= situation.emptyAtMs)
        return stop(record, "preempted");
      // The host ends an attempt at its time-out; who steps in does so later.
      if (
        situation.brokerNowMs >
        record.startedAtMs + record.timeoutMs + situation.settings["task.timeoutGraceMs"]
      )
        return stop(record, "timeout");
      return NOTHING;
    case "cancelling":
      if (lifecycle.active && situation.lost === null) return stop(record, "cancelled");
      return say({
        kind: "cancelled",
        body: {
          after,
          attempt: lifecycle.attempt,
          hostId: lifecycle.hostId,
          nonce: lifecycle.nonce,
          lost: lifecycle.active,
          reason: view.reason ?? "cancelled",
          ...(view.supersededBy ? { supersededBy: view.supersededBy } : {}),
        },
      });
    default:
      return NOTHING;
  }
}

const UNEXPLAINED: Failure = { category: "internal", message: "the attempt ended without a reason" };

const lostFailure = ({ lifecycle }: TaskRecord, how: "absent" | "silent"): Failure => ({
  category: "lost",
  message:
    how === "silent"
      ? `host ${lifecycle.hostId} went silent during attempt ${lifecycle.attempt}`
      : `host ${lifecycle.hostId} no longer runs attempt ${lifecycle.attempt}`,
});

/** The control fact that follows a failed or lost attempt. */
function followUp(
  record: TaskRecord,
  failure: Failure,
  lost: boolean,
  { chance, retries, settings }: Situation,
): Pick<NewFact, "kind" | "body"> {
  const { lastSequence: after, attempt, hostId, nonce } = record.lifecycle;
  const next = afterFailure(failure, record.lifecycle.failures, record.view.maxAttempts, chance, retries);
  const { failures } = next;
  const usedUp = budgetUsedUp(record, settings["budget.perTask"]);
  if (usedUp !== null && next.next !== "fail") {
    const message = `${usedUp}; its last attempt failed: ${failure.category}: ${failure.message}`;
    const failed = { category: "budget" as const, message };
    const body = { after, attempt, hostId, nonce, lost, failures, failure: failed, exhausted: false };
    return { kind: "failed", body };
  }
  switch (next.next) {
    case "requeue":
      return {
        kind: "requeued",
        body: { after, attempt, failures, reason: lost ? "lost" : "retry", failure },
      };
    case "defer":
      return {
        kind: "deferred",
        body: {
          after,
          attempt,
          failures,
          reason: lost ? "lost" : next.reason,
          delayMs: next.delayMs,
          failure,
        },
      };
    case "fail":
      return {
        kind: "failed",
        body: {
          after,
          attempt,
          hostId,
          nonce,
          lost,
          failures,
          failure: { category: failure.category, message: failure.message },
          exhausted: next.exhausted,
        },
      };
  }
}

/** In words, that nothing is left for another attempt; null if something is. */
function budgetUsedUp({ runner, budget, used }: TaskRecord, perTask: Budget): string | null {
  if (!isAgent(runner)) return null;
  const most = (one: number | undefined, other: number | null) =>
    Math.min(one ?? Number.POSITIVE_INFINITY, other ?? Number.POSITIVE_INFINITY);
  const usd = most(budget?.usd, perTask.usd);
  if (used.microUsd >= microUsd(usd))
    return `its budget of $${usd.toFixed(2)} is used up ($${usdOf(used).toFixed(2)})`;
  const tokens = most(budget?.tokens, perTask.tokens);
  return used.tokens >= tokens ? `its budget of ${tokens} tokens is used up (${used.tokens})` : null;
}

const stop = ({ lifecycle, view }: TaskRecord, reason: StopOrder["reason"]): Decision =>
  lifecycle.hostId === null
    ? NOTHING
    : {
        act: "stop",
        hostId: lifecycle.hostId,
        order: { taskId: view.taskId, attempt: lifecycle.attempt, reason },
      };
