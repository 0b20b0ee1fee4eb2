// Whether an agent may begin: what was used today, what is held for attempts under way and for those that hosts are
// being asked to begin, and what it may use itself together stay within every budget. Pure; the clock is an argument.
import { type Budget, budgetOf, type Settings } from "../../shared/config/settings.ts";
import type { Allowance } from "../../shared/contracts/budget.ts";
import { isAgent } from "../../shared/contracts/deploy-request.ts";
import { type Amount, amountOf, microUsd, nothing } from "../../shared/lifecycle/amount.ts";
import type { FoldedFact } from "../../shared/lifecycle/folded-log.ts";
import { Reservations } from "../../shared/lifecycle/reservations.ts";
import { dayOf, dayStartMs, Spending, type Work } from "../../shared/lifecycle/spending.ts";
import type { QueueEntry } from "./queue-entry.ts";

/** Of the smallest budget of the day, an attempt may use this share where nothing bounds its task. */
const SHARE = 0.1;

export type BudgetSettings = Pick<Settings, "budget.perDay" | "budget.repositories" | "budget.perTask">;

/** `inMs`: until it can begin for all that is known; null if that is not. */
interface TooMuch {
  words: string;
  wouldRun: string | null;
  inMs: number | null;
}

type Kind = keyof Amount;
const SETTING = { microUsd: "usd", tokens: "tokens" } as const satisfies Record<Kind, keyof Budget>;
const KINDS = Object.keys(SETTING) as Kind[];

export class Budgets {
  /** Today's, and yesterday's for clocks that do not quite agree. */
  readonly #spending = new Spending(2);
  readonly #asked = new Reservations();

  /** What the log says next, about a task of this work. */
  apply(folded: FoldedFact, work: Work): void {
    this.#spending.apply(folded, work);
  }

  /** Nothing is in the way of the task but hosts. It is asked of every task that comes to its turn. */
  affords(task: QueueEntry, settings: BudgetSettings, brokerNowMs: number): boolean {
    return isFree(task, settings) || this.tooMuch(task, settings, brokerNowMs) === null;
  }

  /** Holds what an attempt of the task may use, until the log shows that it begins, or `giveBack`. Null: no bound. */
  hold(task: QueueEntry, settings: BudgetSettings): Allowance | null {
    if (isFree(task, settings)) return null;
    const own = wanted(task, settings, "microUsd");
    const tokens = wanted(task, settings, "tokens");
    if (own === null && tokens === null) return null;
    const allowance = {
      ...(own === null ? {} : { usd: own / 1e6 }),
      ...(tokens === null ? {} : { tokens }),
    };
    this.#asked.add(task.taskId, task.repository, amountOf(allowance));
    return allowance;
  }

  giveBack(taskId: string): void {
    this.#asked.remove(taskId);
  }

  /** Why the task has to wait, and for what; null if it need not. */
  tooMuch(task: QueueEntry, settings: BudgetSettings, brokerNowMs: number): TooMuch | null {
    if (isFree(task, settings)) return null;
    const day = dayOf(brokerNowMs);
    for (const kind of KINDS) {
      const want = wanted(task, settings, kind);
      if (want === null) continue;
      for (const { repository, limit } of scopes(task, settings, kind)) {
        const used = this.#spending.used(day, repository)[kind];
        const reserved = this.#reserved(task, repository)[kind];
        if (want > 0 && used + reserved + want <= limit) continue;
        const whose = repository === null ? "the mesh" : `repository ${task.repository}`;
        const held = reserved === 0 ? "" : `, ${inWords(kind, reserved)} are held for what runs`;
        const words = `${whose} has used ${inWords(kind, used)} of its ${inWords(kind, limit)} for the day (UTC)${held}, and the task may use ${inWords(kind, want)}`;
        return { words, ...nextChance(limit === 0 ? null : used + want > limit, day, brokerNowMs) };
      }
      if (want > 0) continue;
      const words = `its own budget is used up (${inWords(kind, task.spent?.[kind] ?? 0)})`;
      return { words, wouldRun: "would run if budget.perTask were raised", inMs: null };
    }
    return null;
  }

  /** For all but the task itself. */
  #reserved({ taskId, repository: own }: QueueEntry, repository: string | null): Amount {
    const running = this.#spending.running.sum(repository);
    const asked = this.#asked.sum(repository);
    const its = (repository === null || repository === own ? this.#asked.of(taskId) : null) ?? nothing();
    return {
      microUsd: running.microUsd + asked.microUsd - its.microUsd,
      tokens: running.tokens + asked.tokens - its.tokens,
    };
  }
}

/** No budget bounds it; most tasks are of this kind, and nothing is worked out for them. */
function isFree({ runner, budget, repository }: QueueEntry, settings: BudgetSettings): boolean {
  if (!isAgent(runner)) return true;
  return (
    budget === null &&
    isNone(settings["budget.perDay"]) &&
    isNone(settings["budget.perTask"]) &&
    isNone(ofRepository(repository, settings))
  );
}

const isNone = ({ usd, tokens }: Budget): boolean => usd === null && tokens === null;

/** Settings stay the same object until they change. */
let known = { of: {} as Settings["budget.repositories"], budgets: new Map<string, Budget>() };

function ofRepository(repository: string, settings: BudgetSettings): Budget {
  const of = settings["budget.repositories"];
  if (known.of !== of || known.budgets.size > 10_000) known = { of, budgets: new Map() };
  const budget = known.budgets.get(repository) ?? budgetOf(repository, of);
  known.budgets.set(repository, budget);
  return budget;
}

/** The budgets of the day that it falls under. */
function scopes({ repository }: QueueEntry, settings: BudgetSettings, kind: Kind) {
  const all = [
    { repository: null, budget: settings["budget.perDay"] },
    { repository, budget: ofRepository(repository, settings) },
  ];
  return all.flatMap(({ repository, budget }) => {
    const limit = limitOf(budget, kind);
    return limit === null ? [] : [{ repository, limit }];
  });
}

const limitOf = (budget: Budget, kind: Kind): number | null => {
  const limit = budget[SETTING[kind]];
  return limit === null ? null : kind === "microUsd" ? microUsd(limit) : limit;
};

/** What its next attempt may use; null if nothing bounds that. More than a whole day's is none's. */
function wanted(task: QueueEntry, settings: BudgetSettings, kind: Kind): number | null {
  const { usd = null, tokens = null } = task.budget ?? {};
  const own = least([limitOf({ usd, tokens }, kind), limitOf(settings["budget.perTask"], kind)]);
  const ofDay = least(scopes(task, settings, kind).map(({ limit }) => limit));
  const left = own === null ? null : Math.max(0, own - (task.spent?.[kind] ?? 0));
  if (ofDay === null) return left;
  return Math.min(left ?? Math.ceil(SHARE * ofDay), ofDay);
}

const least = (limits: (number | null)[]): number | null =>
  limits.reduce((one, other) => (one === null || (other !== null && other < one) ? other : one), null);

/** `isSpent`: not even the end of all that runs makes room today. Null: no day does. */
function nextChance(isSpent: boolean | null, day: number, brokerNowMs: number): Omit<TooMuch, "words"> {
  if (isSpent === null) return { wouldRun: "would run if that were raised", inMs: null };
  const nextMs = dayStartMs(day + 1);
  const next = `${new Date(nextMs).toISOString()} on, when the next day begins`;
  return isSpent
    ? { wouldRun: `would run from ${next}`, inMs: nextMs - brokerNowMs }
    : { wouldRun: `would run when what runs has used less than it may, or from ${next}`, inMs: null };
}

const inWords = (kind: Kind, amount: number): string =>
  kind === "microUsd" ? `$${(amount / 1e6).toFixed(2)}` : `${amount} tokens`;
