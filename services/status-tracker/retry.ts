// What follows a failure: whether the task is tried again, when, or not at all. Pure; chance is an argument.
import type { Failure, FailureCategory } from "../../shared/contracts/failure.ts";

export interface RetryRule {
  retryable: boolean;
  /** Counts against `maxAttempts`. */
  counts: boolean;
}

export const RETRY_RULES: Record<FailureCategory, RetryRule> = {
  // What is nowhere to be had is marked permanent; a network that fails is not.
  source: { retryable: true, counts: true },
  setup: { retryable: true, counts: true },
  agent: { retryable: false, counts: true },
  gate: { retryable: false, counts: true },
  timeout: { retryable: false, counts: true },
  resource: { retryable: false, counts: true },
  quota: { retryable: true, counts: false },
  budget: { retryable: false, counts: true },
  preempted: { retryable: true, counts: false },
  cancelled: { retryable: false, counts: false },
  host: { retryable: true, counts: true },
  lost: { retryable: true, counts: true },
  internal: { retryable: true, counts: true },
  rejected: { retryable: false, counts: true },
};

const BASE_MS = 1_000;
const CAP_MS = 60_000;
const QUOTA_MS = 300_000;

export type AfterFailure =
  | { next: "requeue"; failures: number }
  | { next: "defer"; failures: number; delayMs: number; reason: "retry" | "quota" }
  | { next: "fail"; failures: number; exhausted: boolean };

/** Longest wait before the n-th retry, ms: exponential, without its jitter. */
export const backoffCapMs = (failures: number): number =>
  Math.min(CAP_MS, BASE_MS * 2 ** Math.max(0, failures - 1));

/** `chance` is between 0 and 1: full jitter. */
export function afterFailure(
  failure: Failure,
  failuresBefore: number,
  maxAttempts: number,
  chance: number,
): AfterFailure {
  const rule = RETRY_RULES[failure.category];
  const failures = failuresBefore + (rule.counts ? 1 : 0);
  if (!rule.retryable || failure.permanent) return { next: "fail", failures, exhausted: false };
  if (failures >= maxAttempts) return { next: "fail", failures, exhausted: true };
  if (failure.category === "quota") return { next: "defer", failures, delayMs: QUOTA_MS, reason: "quota" };
  // A machine that went away says nothing about the work: another one takes it at once.
  if (failure.category === "lost" || failure.category === "preempted") return { next: "requeue", failures };
  return { next: "defer", failures, delayMs: Math.round(chance * backoffCapMs(failures)), reason: "retry" };
}
