// What agents may use and have used, in money and tokens: an attempt's allowance, and the answer to who asks what the
// work has cost.
import { z } from "zod";
import { RepositoryName } from "./ids.ts";

/** What an attempt may use at most; what is left out has no bound. */
export const Allowance = z.object({
  usd: z.number().nonnegative().optional(),
  tokens: z.int().nonnegative().optional(),
});
export type Allowance = z.infer<typeof Allowance>;

export const CostsRequest = z.strictObject({
  /** What each row is about. Days are of UTC. */
  by: z.enum(["day", "repository", "runner", "host"]).default("day"),
  /** The first day that counts, `2026-11-26`; the week that ends today if not given. */
  since: z.iso.date("expected a day such as 2026-11-26").optional(),
  repository: RepositoryName.optional(),
});
export type CostsRequest = z.infer<typeof CostsRequest>;

/** Attempts in which an agent worked, each on the day on which it ended. */
export const Costs = z.object({
  attempts: z.int(),
  /** Of those that told it; null if none did. */
  costUsd: z.number().nullable(),
  /** Attempts that told no cost: it is unknown, and not 0. */
  costUnknown: z.int(),
  inputTokens: z.int(),
  outputTokens: z.int(),
  cacheReadTokens: z.int(),
  cacheWriteTokens: z.int(),
  /** Attempts that told no tokens. */
  tokensUnknown: z.int(),
});
export type Costs = z.infer<typeof Costs>;

const Amount = z.object({ usd: z.number(), tokens: z.int() });

/** How today's budget of the mesh, or of a repository, stands. */
export const BudgetView = z.object({
  /** Null for that of the whole mesh. */
  repository: z.string().nullable(),
  limit: z.object({ usd: z.number().nullable(), tokens: z.int().nullable() }),
  /** Attempts that told nothing count with what they were allowed. */
  used: Amount,
  /** For attempts under way: what they may still use. */
  reserved: Amount,
});
export type BudgetView = z.infer<typeof BudgetView>;

export const CostsReply = z.object({
  by: CostsRequest.shape.by.unwrap(),
  since: z.iso.date(),
  /** `key` is null where the log no longer tells it. */
  rows: z.array(Costs.extend({ key: z.string().nullable() })),
  total: Costs,
  budgets: z.array(BudgetView),
  /** In words, what the log no longer tells of this time. */
  notices: z.array(z.string()),
});
export type CostsReply = z.infer<typeof CostsReply>;
