// What follows a failure: whether the task is tried again, when, or not at all. Pure; the table and chance are arguments.
import type { RetryTable } from "../../shared/config/retry-table.ts";
import type { Failure } from "../../shared/contracts/failure.ts";

export type AfterFailure =
  | { next: "requeue"; failures: number }
  | { next: "defer"; failures: number; delayMs: number; reason: "retry" | "quota" }
  | { next: "fail"; failures: number; exhausted: boolean };

/** Longest wait before the n-th retry, ms: exponential, without its jitter. */
export const longestWaitMs = (
  { baseMs, capMs }: { baseMs: number; capMs: number },
  failures: number,
): number => Math.min(capMs, baseMs * 2 ** Math.max(0, failures - 1));

/** `chance` is between 0 and 1: full jitter. */
export function afterFailure(
  failure: Failure,
  failuresBefore: number,
  maxAttempts: number,
  chance: number,
  table: RetryTable,
): AfterFailure {
  const rule = table[failure.category];
  const failures = failuresBefore + (rule.counts ? 1 : 0);
  if (!rule.retryable || failure.permanent) return { next: "fail", failures, exhausted: false };
  if (failures >= maxAttempts) return { next: "fail", failures, exhausted: true };
  if (failure.category === "quota") {
    // Earlier is in vain: the provider has said so.
    const delayMs = Math.min(rule.capMs, failure.retryAfterMs ?? rule.baseMs);
    return { next: "defer", failures, delayMs, reason: "quota" };
  }
  const longestMs = longestWaitMs(rule, failures);
  if (longestMs === 0) return { next: "requeue", failures };
  return { next: "defer", failures, delayMs: Math.round(chance * longestMs), reason: "retry" };
}
