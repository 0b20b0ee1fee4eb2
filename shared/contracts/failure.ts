// The closed list of what can go wrong with an attempt, and with a request on the wire.
import { z } from "zod";

/**
 * `source` cannot be fetched · `setup` · `agent` the runner's command failed · `gate` a check refuted the work ·
 * `timeout` · `resource` a limit was hit · `quota` the provider says later (no failure counted) · `budget` ·
 * `preempted` and `cancelled` (no failure counted) · `host` · `lost` the host went silent · `internal` · `rejected`
 * a request that nobody can read or allow.
 */
export const FailureCategory = z.enum([
  "source",
  "setup",
  "agent",
  "gate",
  "timeout",
  "resource",
  "quota",
  "budget",
  "preempted",
  "cancelled",
  "host",
  "lost",
  "internal",
  "rejected",
]);
export type FailureCategory = z.infer<typeof FailureCategory>;

/** As a fact tells it: one that only a newer version knows is `internal` here, and the fact counts all the same. */
export const ToldCategory = FailureCategory.catch("internal");

/**
 * `permanent`: doing it again cannot help (a commit that is nowhere), whatever the category's rule says.
 * `retryAfterMs`: how long after this failure a provider with a quota takes work again.
 */
export const Failure = z.object({
  category: ToldCategory,
  message: z.string(),
  permanent: z.boolean().optional(),
  retryAfterMs: z.int().nonnegative().optional(),
});
export type Failure = z.infer<typeof Failure>;

/** What an API answers instead of a value. One list for NATS and HTTP; the gateway maps it in one table. */
export const ErrorCode = z.enum([
  "bad_request",
  "forbidden",
  "not_found",
  "conflict",
  "too_large",
  "too_many",
  "unsupported",
  "unavailable",
  "internal",
]);
export type ErrorCode = z.infer<typeof ErrorCode>;

export const WireError = z.object({ code: ErrorCode, message: z.string() });
export type WireError = z.infer<typeof WireError>;

/** A value, or the error that a caller is told. */
export type Answer<Value> = { ok: true; value: Value } | { ok: false; error: WireError };

export const answer = <Value>(value: Value): Answer<Value> => ({ ok: true, value });
export const refuse = (code: ErrorCode, message: string): { ok: false; error: WireError } => ({
  ok: false,
  error: { code, message },
});
