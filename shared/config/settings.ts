// The mesh's hot configuration: every setting that an operator changes while the mesh runs, with its default and what
// values it takes. Settings never depend on one another, since a reader learns of them one by one. Pure.
import { z } from "zod";
import type { SettingView } from "../contracts/api.ts";
import { explainIssues } from "../contracts/unknown-field.ts";
import { RetryChanges } from "./retry-table.ts";

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;

const ms = (minimum: number, maximum: number) => {
  const expected = `expected whole milliseconds from ${minimum} to ${maximum}`;
  return z.int(expected).min(minimum, expected).max(maximum, expected);
};

/** The ways to choose among the hosts that could take a task (`docs/placement.md`). */
export const PlacementPolicy = z.enum([
  "resource",
  "round-robin",
  "least-connections",
  "weighted",
  "power-of-two",
]);
export type PlacementPolicy = z.infer<typeof PlacementPolicy>;

const weight = (byDefault: number) => {
  const expected = "expected a weight from 0 to 10";
  return z.number(expected).min(0, expected).max(10, expected).default(byDefault);
};

/** What each term of a host's score counts. */
export const PlacementWeights = z.strictObject({
  memory: weight(1),
  cpu: weight(0.3),
  slots: weight(0.1),
  speed: weight(0.05),
  warm: weight(0.1),
  spread: weight(0.05),
});
export type PlacementWeights = z.infer<typeof PlacementWeights>;

const RepositoryRule = z.strictObject({
  /** Tasks that it places in one turn, where several repositories have some. */
  share: z.int("expected a share from 1 to 100").min(1).max(100).default(1),
  /** Attempts that it may have under way at once; null for as many as there is room for. */
  atOnce: z.int("expected a number of attempts, or null").min(1).max(100_000).nullable().default(null),
});
const RepositoryRules = z.record(z.string().min(1).max(256), RepositoryRule);
export type RepositoryRules = z.infer<typeof RepositoryRules>;

const NO_RULE = RepositoryRule.parse({});

/** What holds for a repository: what is said of it, or else of all others by `*`. */
export const ruleOf = (repository: string, rules: RepositoryRules): z.infer<typeof RepositoryRule> =>
  (Object.hasOwn(rules, repository) ? rules[repository] : rules["*"]) ?? NO_RULE;

const atMost = (expected: string, schema: z.ZodNumber) => schema.min(0, expected).nullable().default(null);
const Budget = z.strictObject({
  usd: atMost("expected dollars, or null", z.number("expected dollars, or null").max(1e9)),
  tokens: atMost("expected a number of tokens, or null", z.int("expected a number of tokens, or null")),
});
/** Null where there is no bound. */
export type Budget = z.infer<typeof Budget>;
const RepositoryBudgets = z.record(z.string().min(1).max(256), Budget);
type RepositoryBudgets = z.infer<typeof RepositoryBudgets>;

const NO_BUDGET: Budget = Budget.parse({});

/** What a repository may use in a day: what is said of it, however it is written, or else of all others by `*`. */
export function budgetOf(repository: string, budgets: RepositoryBudgets): Budget {
  const name = repository.toLowerCase();
  const own = Object.keys(budgets).find((key) => key.toLowerCase() === name);
  return budgets[own ?? "*"] ?? NO_BUDGET;
}

/** Milliseconds end in `Ms`. */
export const Settings = z.strictObject({
  retries: RetryChanges.default({}).describe(
    "what follows a failure, by its category, where it differs from the configuration file and the defaults",
  ),
  "task.timeoutGraceMs": ms(0, DAY_MS)
    .default(5 * MINUTE_MS)
    .describe("an attempt that its host has not ended so long after its time-out is ordered to stop"),
  // What was used on a day is known from its facts: none of them may leave the log before the day is over.
  "task.keepMs": ms(DAY_MS, 3_650 * DAY_MS)
    .default(90 * DAY_MS)
    .describe("of a task that ended longer ago only the end is kept on the log"),
  "placement.policy": PlacementPolicy.default("resource").describe(
    "how one of the hosts that could take a task is chosen: resource (the most room), round-robin, least-connections, weighted, power-of-two",
  ),
  "placement.weights": PlacementWeights.prefault({}).describe(
    "what the terms of a host's score count; those not given are at their defaults",
  ),
  "placement.repositories": RepositoryRules.default({}).describe(
    "of each repository, or of `*` for all others: `share`, tasks placed in one turn, and `atOnce`, attempts under way at most",
  ),
  "placement.patienceMs": ms(0, DAY_MS)
    .default(2 * MINUTE_MS)
    .describe("a task that others pass for so long because it asks for much memory has a host held for it"),
  "placement.preemption": z
    .boolean()
    .default(false)
    .describe(
      "true: a high task that finds no room has attempts of low ones stopped, which are queued again without a failure",
    ),
  "placement.learn": z
    .boolean()
    .default(true)
    .describe(
      "true: a task whose request names no memory is counted with what 95 % of the latest attempts like it needed; false: with the default",
    ),
  "placement.avoidMs": ms(0, MINUTE_MS)
    .default(300)
    .describe("a host that refused a task, or did not answer, is passed over for so long"),
  "budget.perDay": Budget.prefault({}).describe(
    "what agents may use in a day of UTC, `usd` and `tokens`, null for no bound; beyond it their tasks wait for the next",
  ),
  "budget.repositories": RepositoryBudgets.default({}).describe(
    "the same of each repository, or of `*` for each other one",
  ),
  "budget.perTask": Budget.prefault({}).describe(
    "what all attempts of a task may use together, where its request says no less",
  ),
  "log.level": z
    .enum(["trace", "debug", "info", "warn", "error", "silent"])
    .nullable()
    .default(null)
    .describe("how much gateway, scheduler and status tracker log; null: as their MESH_LOG_LEVEL says"),
});
export type Settings = z.infer<typeof Settings>;

export const DEFAULT_SETTINGS: Settings = Settings.parse({});

type Key = keyof Settings;
const KEYS = Object.keys(Settings.shape) as Key[];
export const isSetting = (key: string): key is Key => Object.hasOwn(Settings.shape, key);

/** The settings with one of them set, or, for `undefined`, at its default again; or what is wrong, in words. */
export function withSetting(
  settings: Settings,
  key: string,
  value: unknown,
): { ok: true; settings: Settings } | { ok: false; problem: string } {
  const given = Settings.safeParse({ [key]: value });
  if (!given.success) return { ok: false, problem: explainIssues(given.error, Settings) };
  return { ok: true, settings: { ...settings, [key]: given.data[key as Key] } };
}

/** What a person is shown of each setting, from what was set. */
export const viewSettings = (set: ReadonlyMap<string, unknown>): SettingView[] =>
  KEYS.map((key) => {
    const applied = withSetting(DEFAULT_SETTINGS, key, set.get(key));
    return {
      key,
      value: applied.ok ? applied.settings[key] : DEFAULT_SETTINGS[key],
      default: DEFAULT_SETTINGS[key],
      isSet: set.has(key),
      problem: applied.ok ? null : applied.problem,
      description: Settings.shape[key].description ?? "",
    };
  });
