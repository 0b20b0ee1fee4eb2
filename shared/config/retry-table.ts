// What follows a failure, by its category: the defaults, and how a configuration changes them. Data only; the status
// tracker's `retry.ts` reads it.
import { z } from "zod";
import { FailureCategory } from "../contracts/failure.ts";

const WAIT_MS = z.int().nonnegative().max(86_400_000);

const RetryRule = z.strictObject({
  retryable: z.boolean(),
  /** Counts against `maxAttempts`. */
  counts: z.boolean(),
  /** The longest wait before the first retry, ms, doubled for each further one; 0: at once. */
  baseMs: WAIT_MS,
  /** No wait is longer. */
  capMs: WAIT_MS,
});
type RetryRule = z.infer<typeof RetryRule>;
export type RetryTable = Record<FailureCategory, RetryRule>;

/** Only what differs from the defaults. */
export const RetryChanges = z.partialRecord(FailureCategory, RetryRule.partial());

const rule = (overrides: Partial<RetryRule>): RetryRule => ({
  retryable: true,
  counts: true,
  baseMs: 1_000,
  capMs: 60_000,
  ...overrides,
});
const FINAL = rule({ retryable: false });

export const RETRY_DEFAULTS: RetryTable = {
  // What is nowhere to be had is marked permanent; a network that fails is not.
  source: rule({}),
  setup: rule({}),
  agent: FINAL,
  gate: FINAL,
  timeout: FINAL,
  resource: FINAL,
  // The whole wait is kept, or the one that the failure names.
  quota: rule({ counts: false, baseMs: 300_000, capMs: 86_400_000 }),
  budget: FINAL,
  // A machine that went away says nothing about the work: another one takes it at once.
  preempted: rule({ counts: false, baseMs: 0 }),
  cancelled: rule({ retryable: false, counts: false }),
  host: rule({}),
  lost: rule({ baseMs: 0 }),
  internal: rule({}),
  rejected: FINAL,
};

/** Later changes take the place of earlier ones. */
export const retryTable = (...changes: z.infer<typeof RetryChanges>[]): RetryTable =>
  Object.fromEntries(
    FailureCategory.options.map((category) => [
      category,
      Object.assign({}, RETRY_DEFAULTS[category], ...changes.map((change) => change[category])),
    ]),
  ) as RetryTable;
