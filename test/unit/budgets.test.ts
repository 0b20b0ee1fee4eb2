// Budgets of the day, of repositories and of tasks, through the whole dispatcher: how many agents begin at once, and
// what a task that may not yet is told.
import { describe, expect, it } from "vitest";
import { Dispatcher } from "../../services/scheduler/dispatch.ts";
import { Fleet } from "../../services/scheduler/fleet.ts";
import { Queue } from "../../services/scheduler/queue.ts";
import { QueueIndex } from "../../services/scheduler/queue-index.ts";
import { decide } from "../../services/status-tracker/decide.ts";
import { recordOf } from "../../services/status-tracker/record.ts";
import { RETRY_DEFAULTS } from "../../shared/config/retry-table.ts";
import { DEFAULT_SETTINGS, Settings, withSetting } from "../../shared/config/settings.ts";
import type { DeployRequest } from "../../shared/contracts/deploy-request.ts";
import type { Fact, FactBody, FactKind } from "../../shared/contracts/fact.ts";
import { answer } from "../../shared/contracts/failure.ts";
import type { RunOrder } from "../../shared/contracts/order.ts";
import { Breakers } from "../../shared/lifecycle/breakers.ts";
import { FoldedLog } from "../../shared/lifecycle/folded-log.ts";
import { fact, request } from "../support/facts.ts";
import { heartbeat } from "../support/heartbeats.ts";
import { resultOf } from "../support/usage.ts";

const GIB = 2 ** 30;
const DAY_MS = 86_400_000;
const NOON_MS = 100.5 * DAY_MS;

/** A scheduler with one host that has room for all, and begins whatever it is asked to. */
function scene(facts: Fact[] = [], settings: object = {}) {
  let nowMs = NOON_MS;
  let set = Settings.parse(settings);
  const [queue, fleet] = [new Queue(), new Fleet()];
  const index = new QueueIndex(queue, fleet, () => true);
  const orders: RunOrder[] = [];
  const log = new FoldedLog((folded) => {
    index.apply(folded, 0);
    if (folded.after.state !== "queued") dispatcher.forget(folded.fact.taskId);
  });
  const dispatcher = new Dispatcher(queue, fleet, 15_000, {
    leads: () => true,
    settings: () => set,
    nowMs: () => 0,
    brokerNowMs: () => nowMs,
    random: () => 0,
    breakers: new Breakers(60_000),
    budgets: index.budgets,
    held: () => null,
    request: async () => request(),
    publish: () => {},
    stop: () => {},
    usual: () => null,
    runsOn: (taskId) => log.tasks.get(taskId)?.hostId ?? null,
    async ask(_, order) {
      orders.push(order);
      const { taskId, attempt, allowance } = order;
      say(taskId, "started", { attempt, ...(allowance === undefined ? {} : { allowance }) });
      return answer({ outcome: "started" as const, sequence: facts.length });
    },
  });
  const memory = { totalBytes: 500 * GIB, availableBytes: 500 * GIB };
  const runners = ["command", "claude-code", "codex"];
  const slots = { total: 100, free: 100 };
  fleet.hear(heartbeat({ cpu: { cores: 64, busy: 0, mhz: 3_000 }, memory, slots, runners }), 0);
  for (const known of facts) log.apply(known);
  function say<Kind extends FactKind>(taskId: string, kind: Kind, body: Partial<FactBody<Kind>> = {}) {
    const after = log.tasks.get(taskId)?.lastSequence ?? 0;
    const said = { ...fact(facts.length + 1, kind, { after, ...body }), taskId, timeMs: nowMs };
    facts.push(said);
    log.apply(said);
  }
  return {
    facts,
    orders,
    say,
    submit: (taskId: string, overrides: Partial<DeployRequest> = {}) =>
      say(taskId, "requested", { prompt: "Mend it.", ...overrides }),
    set: (key: string, value: unknown) => {
      const changed = withSetting(set, key, value);
      if (changed.ok) set = changed.settings;
    },
    async pass(ms = 0) {
      nowMs += ms;
      dispatcher.pass();
      dispatcher.makeRoom();
      for (let round = 0; round < 5; round++) await new Promise((settled) => setImmediate(settled));
    },
    begun: () => orders.map(({ taskId }) => taskId),
    outlook: (taskId: string) => dispatcher.outlook(taskId),
  };
}

const twenty = Array.from({ length: 20 }, (_, number) => `t${number}`);
const TEN_A_DAY = { "budget.perDay": { usd: 10 } };

describe("a day's budget", () => {
  it("lets only so many of twenty begin at once as may use it up together", async () => {
    const { submit, pass, orders, say } = scene([], { ...TEN_A_DAY, "budget.perTask": { usd: 2 } });
    for (const taskId of twenty) submit(taskId);
    await pass();
    expect(orders.map(({ allowance }) => allowance)).toEqual(Array.from({ length: 5 }, () => ({ usd: 2 })));
    say("t0", "succeeded", { result: resultOf({ costUsd: 0.5 }) });
    await pass();
    expect(orders).toHaveLength(5);
    say("t1", "succeeded", { result: resultOf({ costUsd: 1.5 }) });
    await pass();
    // 2 are used, and 3 · 2 are held.
    expect(orders).toHaveLength(6);
  });

  it("holds a tenth of itself for a task that nothing bounds, and all of itself at most for one that may use more", async () => {
    const { submit, pass, orders, say } = scene([], TEN_A_DAY);
    submit("free");
    await pass();
    submit("large", { agent: { maxBudgetUsd: 50 } });
    await pass();
    expect(orders).toMatchObject([{ taskId: "free", allowance: { usd: 1 } }]);
    say("free", "succeeded", { result: resultOf({ costUsd: 0 }) });
    await pass();
    expect(orders.at(-1)).toMatchObject({ taskId: "large", allowance: { usd: 10 } });
  });

  it("holds up no command, and nothing of other repositories if it is a repository's", async () => {
    const { submit, pass, begun } = scene([], {
      "budget.repositories": { "Acme/Shop": { usd: 0 }, "*": { usd: 1 } },
    });
    submit("none");
    const { prompt: _, ...command } = request({ run: { command: "true" } });
    submit("command", { ...command, prompt: undefined });
    submit("other", { repository: "acme/other" });
    submit("tokens", { repository: "acme/third", runner: "codex" });
    await pass();
    expect(begun().toSorted()).toEqual(["command", "other", "tokens"]);
  });

  it("is told to who asks, with when it would run, and is a new one on the next day", async () => {
    const { submit, pass, begun, say, outlook } = scene([], { "budget.perDay": { usd: 3, tokens: null } });
    for (const taskId of ["a", "b"]) submit(taskId, { agent: { maxBudgetUsd: 2 } });
    await pass();
    expect(outlook("b")).toMatchObject({
      receipt: {
        hostId: null,
        summary:
          "the mesh has used $0.00 of its $3.00 for the day (UTC), $2.00 are held for what runs, and the task may use $2.00",
      },
      wouldRun:
        "would run when what runs has used less than it may, or from 1970-04-12T00:00:00.000Z on, when the next day begins",
      etaMs: null,
    });
    say("a", "succeeded", { result: resultOf({ costUsd: 1.25 }) });
    expect(outlook("b")).toMatchObject({
      wouldRun: "would run from 1970-04-12T00:00:00.000Z on, when the next day begins",
      etaMs: 0.5 * DAY_MS,
    });
    await pass(0.5 * DAY_MS - 1);
    expect(begun()).toEqual(["a"]);
    await pass(1);
    expect(begun()).toEqual(["a", "b"]);
  });

  it("in tokens is held to alike, and what it says now is what holds", async () => {
    const { submit, pass, begun, say, set, orders } = scene([], { "budget.perDay": { tokens: 1_000 } });
    submit("a", { runner: "codex" });
    await pass();
    say("a", "succeeded", { result: resultOf({ costUsd: null, inputTokens: 950 }) });
    submit("b", { runner: "codex" });
    await pass();
    expect(begun()).toEqual(["a"]);
    set("budget.perDay", { tokens: 2_000 });
    await pass();
    expect(orders.at(-1)).toMatchObject({ taskId: "b", allowance: { tokens: 200 } });
  });

  it("is known to a scheduler that begins anew, held amounts too, under other settings", async () => {
    const first = scene([], { ...TEN_A_DAY, "budget.perTask": { usd: 4 } });
    for (const taskId of ["a", "b", "c"]) first.submit(taskId);
    await first.pass();
    first.say("a", "faulted", {
      failure: { category: "gate", message: "" },
      result: resultOf({ costUsd: 3 }),
    });
    expect(first.begun()).toEqual(["a", "b"]);
    const second = scene(first.facts, { ...TEN_A_DAY, "budget.perTask": { usd: 3.5 } });
    await second.pass();
    expect(second.begun()).toEqual([]);
    second.set("budget.perTask", { usd: 3 });
    await second.pass();
    expect(second.begun()).toEqual(["c"]);
  });
});

describe("a task's own budget", () => {
  const spent = (usd: number) => ({
    failure: { category: "host" as const, message: "cut off" },
    result: resultOf({ costUsd: usd }),
  });

  it("leaves an attempt what those before it have left, without any other budget too", async () => {
    const { submit, pass, orders, say } = scene();
    submit("a", { agent: { maxBudgetUsd: 2 } });
    await pass();
    say("a", "faulted", spent(1.25));
    say("a", "requeued", { attempt: 1 });
    await pass();
    expect(orders.map(({ allowance }) => allowance)).toEqual([{ usd: 2 }, { usd: 0.75 }]);
  });

  it("that is used up holds up nobody behind it", async () => {
    const { submit, pass, begun, say, set, outlook } = scene([], { "budget.perTask": { usd: 4 } });
    submit("a");
    await pass();
    say("a", "faulted", spent(3));
    say("a", "requeued", { attempt: 1 });
    set("budget.perTask", { usd: 2 });
    submit("b");
    await pass();
    expect(begun()).toEqual(["a", "b"]);
    expect(outlook("a")?.wouldRun).toBe("would run if budget.perTask were raised");
    set("budget.perTask", { usd: 4 });
    await pass();
    expect(begun()).toEqual(["a", "b", "a"]);
  });

  it.each([
    ["its request says", { maxBudgetUsd: 2 }, {}, 2.5, "its budget of $2.00 is used up ($2.50)"],
    [
      "the setting says",
      undefined,
      { "budget.perTask": { usd: 1 } },
      1,
      "its budget of $1.00 is used up ($1.00)",
    ],
    ["it says in tokens", { maxTokens: 100 }, {}, 0, "its budget of 100 tokens is used up (100)"],
  ])("ends it as budget once it is used up, if %s", (_, agent, settings, usd, words) => {
    const facts = [
      fact(1, "requested", { prompt: "Mend it.", agent }),
      fact(2, "started", { after: 1 }),
      fact(3, "faulted", { after: 2, ...spent(usd) }),
    ];
    const record = recordOf(facts);
    if (record === null) throw new Error("no record");
    const situation = {
      brokerNowMs: 10_000,
      lost: null,
      takesStrangers: false,
      chance: 0.5,
      emptyAtMs: null,
      supersededBy: null,
      retries: RETRY_DEFAULTS,
    };
    const decided = decide(record, { ...situation, settings: Settings.parse(settings) });
    const message = `${words}; its last attempt failed: host: cut off`;
    expect(decided).toMatchObject({
      fact: { kind: "failed", body: { failure: { category: "budget", message }, exhausted: false } },
    });
    const richer = { ...DEFAULT_SETTINGS };
    const half = recordOf([
      ...facts.slice(0, 2),
      fact(3, "faulted", { after: 2, ...spent(0), result: undefined }),
    ]);
    expect(half && decide(half, { ...situation, settings: richer })).toMatchObject({
      fact: { kind: "deferred" },
    });
  });
});
