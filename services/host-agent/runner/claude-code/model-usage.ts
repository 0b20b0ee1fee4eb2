// What Claude Code's last result says that each model has used and cost. Pure; what it does not say counts as nothing
// used, and as no cost known.
import { z } from "zod";
import type { ModelUsed } from "../../attempt/usage-report.ts";

const count = z.number().nonnegative().catch(0);
/** By the model's name. */
export const ModelUsage = z
  .record(
    z.string(),
    z.object({
      inputTokens: count,
      outputTokens: count,
      cacheReadInputTokens: count,
      cacheCreationInputTokens: count,
      costUSD: z.number().nonnegative().nullable().catch(null),
      costBasis: z.string().nullable().catch(null),
    }),
  )
  .catch({});

export const modelsUsed = (told: z.output<typeof ModelUsage>): ModelUsed[] =>
  Object.entries(told).map(([model, used]) => ({
    model,
    costUsd: used.costUSD,
    prices: used.costBasis,
    inputTokens: used.inputTokens,
    outputTokens: used.outputTokens,
    cacheReadTokens: used.cacheReadInputTokens,
    cacheWriteTokens: used.cacheCreationInputTokens,
  }));

export function tokensOfAll(models: ModelUsed[]) {
  const sum = { inputTokens: 0, outputTokens: 0, cacheReadTokens: 0, cacheWriteTokens: 0 };
  for (const used of models)
    for (const kind of Object.keys(sum) as (keyof typeof sum)[]) sum[kind] += used[kind];
  return sum;
}
