// `mesh costs`: what agents have used, as a table, and how the day's budgets stand.
import { Command } from "commander";
import type { BudgetView, Costs, CostsReply } from "../../../shared/contracts/budget.ts";
import { UsageError, valueOf } from "../outcome.ts";
import { type CommonOptions, tell, withCommonFlags, withMesh } from "../session.ts";

interface Options extends CommonOptions {
  by: string;
  since?: string;
  repository?: string;
}

export const costsCommand = (): Command =>
  withCommonFlags(
    new Command("costs")
      .description("show what agents have used, in money and tokens, each attempt on the day it ended (UTC)")
      .option("--by <what>", "day, repository, runner or host", "day")
      .option("--since <day>", "2026-11-26, or so far back: 30d; the week that ends today if not given")
      .option("--repository <owner/name>", "only of this repository"),
  ).action(async (options: Options) => {
    const { CostsRequest } = await import("../../../shared/contracts/budget.ts");
    const { explainIssues } = await import("../../../shared/contracts/unknown-field.ts");
    const { parseDuration } = await import("../../../shared/config/quantities.ts");
    const { by, since, repository } = options;
    const ms = since === undefined ? null : parseDuration(since);
    const day = ms === null ? since : new Date(Date.now() - ms).toISOString().slice(0, 10);
    const checked = CostsRequest.safeParse({ by, since: day, repository });
    if (!checked.success) throw new UsageError(explainIssues(checked.error, CostsRequest));
    await withMesh(options, async (mesh) => {
      const costs = valueOf(await mesh.costs(checked.data));
      const { jsonLine, plainLine } = await import("../terminal/plain-text.ts");
      if (options.json) return void process.stdout.write(jsonLine(costs));
      for (const words of costs.notices) tell(options, plainLine(words));
      if (costs.rows.length === 0) tell(options, `No agent has worked since ${costs.since}.`);
      else process.stdout.write(await tableOf(costs));
      for (const budget of costs.budgets) process.stdout.write(`${plainLine(budgetText(budget))}\n`);
    });
  });

async function tableOf({ by, rows, total }: CostsReply): Promise<string> {
  const { table } = await import("../terminal/table.ts");
  const { plainLine } = await import("../terminal/plain-text.ts");
  const line = (name: string, costs: Costs) => [
    name,
    String(costs.attempts),
    moneyText(costs),
    String(costs.inputTokens),
    String(costs.cacheReadTokens + costs.cacheWriteTokens),
    String(costs.outputTokens) +
      (costs.tokensUnknown === 0 ? "" : ` (${costs.tokensUnknown} told no tokens)`),
  ];
  return table(
    [by.toUpperCase(), "ATTEMPTS", "COST", "TOKENS IN", "BY CACHE", "OUT"],
    [
      ...rows.map(({ key, ...costs }) => line(key === null ? "(not known any more)" : plainLine(key), costs)),
      ...(rows.length > 1 ? [line("all", total)] : []),
    ],
  );
}

/** What is not known is not nothing. */
function moneyText({ costUsd, costUnknown }: Pick<Costs, "costUsd" | "costUnknown">): string {
  if (costUsd === null) return "unknown";
  return `$${costUsd.toFixed(2)}${costUnknown === 0 ? "" : ` and ${costUnknown} unknown`}`;
}

function budgetText({ repository, limit, used, reserved }: BudgetView): string {
  const kinds = [
    ...(limit.usd === null
      ? []
      : [
          `$${used.usd.toFixed(2)} of $${limit.usd.toFixed(2)}${heldText(reserved.usd, `$${reserved.usd.toFixed(2)}`)}`,
        ]),
    ...(limit.tokens === null
      ? []
      : [`${used.tokens} of ${limit.tokens} tokens${heldText(reserved.tokens, String(reserved.tokens))}`]),
  ];
  return `today's budget of ${repository === null ? "the mesh" : `repository ${repository}`}: ${kinds.join(", ")}`;
}

const heldText = (amount: number, words: string): string =>
  amount === 0 ? "" : ` used, ${words} held for what runs`;
