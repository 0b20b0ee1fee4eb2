// What agents have cost, for who asks: the days that are remembered, grouped as wanted, and how the day's budgets stand.
// Pure.
import { budgetOf, type Settings } from "../../shared/config/settings.ts";
import type { BudgetView, Costs, CostsReply, CostsRequest } from "../../shared/contracts/budget.ts";
import { type Amount, usdOf } from "../../shared/lifecycle/amount.ts";
import { type Cell, dayOf, dayStartMs, type Spending } from "../../shared/lifecycle/spending.ts";

const WEEK_DAYS = 7;

/** `nowMs` is the broker's. */
export function costsOf(
  spending: Spending,
  { by, since, repository }: CostsRequest,
  settings: Settings,
  nowMs: number,
): CostsReply {
  const today = dayOf(nowMs);
  const from = since === undefined ? today - WEEK_DAYS + 1 : dayOf(Date.parse(since));
  const wanted = repository?.toLowerCase();
  const rows = new Map<string | null, { key: string | null; cells: Cell[] }>();
  const all: Cell[] = [];
  for (const [day, cell] of spending.cells()) {
    if (day < from || cell.attempts === 0) continue;
    if (wanted !== undefined && cell.repository?.toLowerCase() !== wanted) continue;
    const key = keyOf(by, day, cell);
    // However a repository was written.
    const row = rows.get(key?.toLowerCase() ?? null) ?? { key, cells: [] };
    row.cells.push(cell);
    rows.set(key?.toLowerCase() ?? null, row);
    all.push(cell);
  }
  return {
    by,
    since: dateOf(from),
    rows: [...rows.values()]
      .map(({ key, cells }) => ({ key, ...sum(cells) }))
      .sort((one, other) => (one.key ?? "").localeCompare(other.key ?? "")),
    total: sum(all),
    budgets: budgets(spending, settings, today),
    notices: forgotten(from, settings["task.keepMs"], nowMs),
  };
}

const dateOf = (day: number): string => new Date(dayStartMs(day)).toISOString().slice(0, 10);

function keyOf(by: CostsRequest["by"], day: number, { repository, runner, hostId }: Cell): string | null {
  switch (by) {
    case "day":
      return dateOf(day);
    case "repository":
      return repository;
    case "runner":
      return runner;
    case "host":
      return hostId;
  }
}

function sum(cells: readonly Cell[]): Costs {
  const of = (value: (cell: Cell) => number) => cells.reduce((all, cell) => all + value(cell), 0);
  const [attempts, costUnknown] = [of((cell) => cell.attempts), of((cell) => cell.costUnknown)];
  return {
    attempts,
    costUsd: attempts > 0 && attempts === costUnknown ? null : of((cell) => cell.costMicroUsd) / 1e6,
    costUnknown,
    inputTokens: of(({ usage }) => usage.inputTokens),
    outputTokens: of(({ usage }) => usage.outputTokens),
    cacheReadTokens: of(({ usage }) => usage.cacheReadTokens),
    cacheWriteTokens: of(({ usage }) => usage.cacheWriteTokens),
    tokensUnknown: of((cell) => cell.tokensUnknown),
  };
}

/** The mesh's, and of every repository that is named, or has used something today. */
function budgets(spending: Spending, settings: Settings, today: number): BudgetView[] {
  const rules = settings["budget.repositories"];
  const names = new Map(Object.keys(rules).map((name) => [name.toLowerCase(), name]));
  names.delete("*");
  for (const [day, { repository }] of spending.cells())
    if (day === today && repository !== null && !names.has(repository.toLowerCase()))
      names.set(repository.toLowerCase(), repository);
  const view = (repository: string | null, limit: BudgetView["limit"]): BudgetView[] =>
    limit.usd === null && limit.tokens === null
      ? []
      : [
          {
            repository,
            limit,
            used: amount(spending.used(today, repository)),
            reserved: amount(spending.running.sum(repository)),
          },
        ];
  return [
    ...view(null, settings["budget.perDay"]),
    ...[...names.values()].flatMap((repository) => view(repository, budgetOf(repository, rules))),
  ];
}

const amount = (of: Amount): BudgetView["used"] => ({ usd: usdOf(of), tokens: of.tokens });

/** What has left the log is forgotten by the next tracker that begins. */
function forgotten(from: number, keepMs: number, nowMs: number): string[] {
  const kept = dateOf(dayOf(nowMs - keepMs) + 1);
  if (dateOf(from) >= kept) return [];
  return [
    `of tasks that ended before ${kept} the log keeps only the end (task.keepMs): what their failed attempts used, and their repositories, may be missing here`,
  ];
}
