// What agents have used, and what those under way may still use: a projection of the log, the same for every reader,
// whatever its settings. An attempt counts on the day (UTC) on which it ended. Pure.
import { type AgentUsage, tokensOf } from "../contracts/agent-event.ts";
import { isAgent } from "../contracts/deploy-request.ts";
import type { Fact } from "../contracts/fact.ts";
import { type Amount, add, amountOf, microUsd, nothing, repositoryKey } from "./amount.ts";
import type { FoldedFact } from "./folded-log.ts";
import { Reservations } from "./reservations.ts";
import { isEnd } from "./table.ts";

const DAY_MS = 86_400_000;

/** Repositories, runners and hosts together, over all days; of more the oldest days are forgotten, never the latest. */
export const CELLS_KEPT = 100_000;

/** Whose work an attempt is; null where the log no longer tells it. */
export interface Work {
  repository: string | null;
  runner: string | null;
}

/** All attempts of one day, repository, runner and host. */
export interface Cell extends Work {
  hostId: string;
  attempts: number;
  costUnknown: number;
  tokensUnknown: number;
  costMicroUsd: number;
  usage: Pick<AgentUsage, "inputTokens" | "outputTokens" | "cacheReadTokens" | "cacheWriteTokens">;
}

interface Day {
  all: Amount;
  repositories: Map<string, Amount>;
  cells: Map<string, Cell>;
}

interface Spent extends Work {
  day: number;
  hostId: string;
  /** Null where nothing was told. */
  usage: AgentUsage | null;
  allowed: Amount;
}

export const dayOf = (timeMs: number): number => Math.floor(timeMs / DAY_MS);
export const dayStartMs = (day: number): number => day * DAY_MS;

/** What agents used by this fact's account; `none`: no agent had begun. Null where it does not tell. */
function usageIn(fact: Fact): AgentUsage | "none" | null {
  if (fact.kind !== "succeeded" && fact.kind !== "faulted") return null;
  const { result } = fact.body;
  if (result === undefined) return null;
  return result.agent === undefined ? "none" : result.agent.usage;
}

/** The same added up, as far as it was told; null if there is nothing to add. */
export function usedIn(fact: Fact): Amount | null {
  const usage = usageIn(fact);
  if (usage === null || usage === "none") return null;
  return { microUsd: microUsd(usage.costUsd ?? 0), tokens: tokensOf(usage) };
}

export class Spending {
  readonly running = new Reservations();
  readonly #days = new Map<number, Day>();
  readonly #daysKept: number;
  #cells = 0;
  /** How attempts were counted that were lost: their tasks may yet succeed by them. */
  readonly #lost = new Map<string, Spent>();

  constructor(daysKept: number) {
    this.#daysKept = daysKept;
  }

  /** What the log says next, about a task of this work. */
  apply({ fact, before, after, counted }: FoldedFact, work: Work): void {
    if (!counted || fact.body === null) return;
    const { taskId } = fact;
    if (fact.kind === "started") {
      this.#lost.delete(taskId);
      if (isAgent(work.runner))
        this.running.add(taskId, work.repository ?? "", amountOf(fact.body.allowance ?? {}));
      return;
    }
    const isSuccess = fact.kind === "succeeded";
    if (isSuccess || (before.active && !after.active)) {
      const lost = this.#lost.get(taskId);
      if (lost !== undefined && this.#days.has(lost.day)) this.#count(lost, -1);
      const allowed = this.running.remove(taskId) ?? lost?.allowed ?? null;
      const usage = usageIn(fact);
      const hostId = isSuccess ? fact.speaker : before.hostId;
      const isAgents = usage !== "none" && (usage !== null || allowed !== null);
      if (isAgents && hostId !== null) {
        const runner = work.runner ?? runnerIn(fact);
        const day = dayOf(fact.timeMs);
        const spent = { ...work, runner, day, hostId, usage, allowed: allowed ?? nothing() };
        this.#count(spent, 1);
        if (fact.kind !== "faulted") this.#lost.set(taskId, spent);
      }
    }
    if (isEnd(after.state)) this.#lost.delete(taskId);
  }

  /** On that day; of all repositories for null. Who told nothing counts with what it was allowed. */
  used(day: number, repository: string | null): Amount {
    const kept = this.#days.get(day);
    const amount = repository === null ? kept?.all : kept?.repositories.get(repositoryKey(repository));
    return amount ?? nothing();
  }

  /** Days that are remembered, each with what was used on it. */
  *cells(): Generator<[day: number, cell: Cell]> {
    for (const [day, { cells }] of this.#days) for (const cell of cells.values()) yield [day, cell];
  }

  #count({ day, repository, runner, hostId, usage, allowed }: Spent, sign: 1 | -1): void {
    const { all, repositories, cells } = this.#dayAt(day);
    const key = `${repositoryKey(repository ?? "")} ${runner} ${hostId}`;
    const cell = cells.get(key) ?? emptyCell(repository, runner, hostId);
    if (!cells.has(key)) this.#cells++;
    cells.set(key, cell);
    cell.attempts += sign;
    if (usage === null) cell.tokensUnknown += sign;
    else for (const kind of TOKENS) cell.usage[kind] += sign * usage[kind];
    const cost = usage?.costUsd ?? null;
    if (cost === null) cell.costUnknown += sign;
    else cell.costMicroUsd += sign * microUsd(cost);
    const used: Amount = {
      microUsd: cost === null ? allowed.microUsd : microUsd(cost),
      tokens: usage === null ? allowed.tokens : tokensOf(usage),
    };
    add(all, used, sign);
    if (repository === null) return;
    const of = repositories.get(repositoryKey(repository)) ?? nothing();
    repositories.set(repositoryKey(repository), add(of, used, sign));
  }

  #dayAt(day: number): Day {
    const known = this.#days.get(day);
    if (known !== undefined) return known;
    const made: Day = { all: nothing(), repositories: new Map(), cells: new Map() };
    this.#days.set(day, made);
    for (const [oldest, { cells }] of this.#days) {
      if (oldest > day - this.#daysKept && this.#cells < CELLS_KEPT) break;
      if (oldest === day) break;
      this.#days.delete(oldest);
      this.#cells -= cells.size;
    }
    return made;
  }
}

const TOKENS = ["inputTokens", "outputTokens", "cacheReadTokens", "cacheWriteTokens"] as const;

const emptyCell = (repository: string | null, runner: string | null, hostId: string): Cell => ({
  repository,
  runner,
  hostId,
  attempts: 0,
  costUnknown: 0,
  tokensUnknown: 0,
  costMicroUsd: 0,
  usage: { inputTokens: 0, outputTokens: 0, cacheReadTokens: 0, cacheWriteTokens: 0 },
});

/** An ended task of which only the end is kept: that names the agent. */
const runnerIn = (fact: Fact): string | null =>
  fact.kind === "succeeded" ? (fact.body.result.agent?.runner ?? null) : null;
