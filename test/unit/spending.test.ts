// What agents have used, as the log tells it: by day, whatever became of the attempt, and never less than is known.
import { describe, expect, it } from "vitest";
import { costsOf } from "../../services/status-tracker/costs.ts";
import { Ledger } from "../../services/status-tracker/ledger.ts";
import { DEFAULT_SETTINGS } from "../../shared/config/settings.ts";
import type { AgentUsage } from "../../shared/contracts/agent-event.ts";
import { CostsRequest } from "../../shared/contracts/budget.ts";
import type { Fact, FactBody, FactKind } from "../../shared/contracts/fact.ts";
import { FoldedLog } from "../../shared/lifecycle/folded-log.ts";
import { Spending } from "../../shared/lifecycle/spending.ts";
import { fact } from "../support/facts.ts";
import { resultOf } from "../support/usage.ts";

const DAY_MS = 86_400_000;

/** A log of tasks of one repository whose agents work on host h1, from the beginning of day 100 on. */
function scene() {
  let nowMs = 100 * DAY_MS;
  const facts: Fact[] = [];
  const read = () => {
    const spending = new Spending(400);
    const log = new FoldedLog((folded) =>
      spending.apply(folded, { repository: "Acme/Shop", runner: "claude-code" }),
    );
    for (const one of facts) log.apply(one);
    return spending;
  };
  const say = <Kind extends FactKind>(taskId: string, kind: Kind, body: Partial<FactBody<Kind>> = {}) => {
    const sequence = facts.length + 1;
    const after = facts.findLast((one) => one.taskId === taskId)?.sequence ?? 0;
    facts.push({ ...fact(sequence, kind, { after, ...body }), taskId, timeMs: nowMs });
  };
  return {
    facts,
    read,
    say,
    begin(taskId: string, usd?: number) {
      say(taskId, "requested");
      say(taskId, "started", usd === undefined ? {} : { allowance: { usd } });
    },
    later: (ms: number) => {
      nowMs += ms;
    },
    costs: (request: object = {}) => costsOf(read(), CostsRequest.parse(request), DEFAULT_SETTINGS, nowMs),
  };
}

describe("what agents have used", () => {
  it("counts whether the attempt succeeded or failed, on the day on which it ended", () => {
    const { begin, say, later, read, costs } = scene();
    begin("a");
    say("a", "faulted", { failure: { category: "host", message: "" }, result: resultOf({ costUsd: 0.1 }) });
    say("a", "requeued");
    say("a", "started", { attempt: 2 });
    later(DAY_MS);
    say("a", "succeeded", { attempt: 2, result: resultOf({ costUsd: 0.2, outputTokens: 7 }) });
    expect(read().used(100, null)).toEqual({ microUsd: 100_000, tokens: 100 });
    expect(read().used(101, "acme/shop")).toEqual({ microUsd: 200_000, tokens: 107 });
    expect(costs().rows).toMatchObject([
      { key: "1970-04-11", attempts: 1, costUsd: 0.1 },
      { key: "1970-04-12", attempts: 1, costUsd: 0.2, outputTokens: 7 },
    ]);
    expect(costs({ by: "host", since: "1970-04-12" })).toMatchObject({
      rows: [{ key: "h1", attempts: 1 }],
      total: { costUsd: 0.2 },
    });
    expect(costs({ by: "repository", repository: "acme/shop" }).rows).toMatchObject([{ key: "Acme/Shop" }]);
  });

  it("is unknown, and not 0, where an agent tells none or was lost; it counts as what it was allowed", () => {
    const { begin, say, read, costs } = scene();
    for (const taskId of ["tokens", "killed", "lost"]) begin(taskId, 2);
    say("tokens", "succeeded", { result: resultOf({ costUsd: null }) });
    say("killed", "faulted", { result: resultOf(null) });
    say("lost", "requeued", { reason: "lost" });
    expect(costs().rows).toMatchObject([
      { attempts: 3, costUsd: null, costUnknown: 3, inputTokens: 100, tokensUnknown: 2 },
    ]);
    expect(read().used(100, null)).toEqual({ microUsd: 6_000_000, tokens: 100 });
  });

  it("is known after all of an attempt that was called lost and had succeeded", () => {
    const { begin, say, read, costs } = scene();
    begin("a", 2);
    say("a", "requeued", { reason: "lost" });
    say("a", "succeeded", { result: resultOf({ costUsd: 0.5 }) });
    expect(read().used(100, null)).toEqual({ microUsd: 500_000, tokens: 100 });
    expect(costs().total).toMatchObject({ attempts: 1, costUsd: 0.5, costUnknown: 0 });
  });

  it("is nothing where no agent had begun", () => {
    const { begin, say, costs } = scene();
    begin("a", 2);
    const { agent: _, ...result } = resultOf(null);
    say("a", "faulted", { failure: { category: "source", message: "" }, result });
    expect(costs()).toMatchObject({ rows: [], total: { attempts: 0, costUsd: 0 } });
  });

  it("is held for an attempt until it has ended, as its start says", () => {
    const { begin, say, read } = scene();
    begin("a", 2);
    begin("b", 1.5);
    expect(read().running.sum(null)).toEqual({ microUsd: 3_500_000, tokens: 0 });
    say("a", "cancelRequested");
    say("a", "faulted", {
      failure: { category: "cancelled", message: "" },
      result: resultOf({ costUsd: 0.1 }),
    });
    expect(read().running.sum("acme/shop")).toMatchObject({ microUsd: 1_500_000 });
    expect(read().used(100, null)).toMatchObject({ microUsd: 100_000 });
  });

  it("says what the log no longer tells: of a task of which only the end is kept, the repository", () => {
    const { begin, say, later, facts, costs } = scene();
    begin("a");
    say("a", "succeeded", { result: resultOf({ costUsd: 0.5 }) });
    const ledger = new Ledger({ factsOfTask: async () => [] }, 1);
    for (const end of facts.slice(-1)) ledger.apply(end);
    expect([...ledger.spending.cells()]).toMatchObject([
      [100, { repository: null, runner: "claude-code", costMicroUsd: 500_000 }],
    ]);
    later(91 * DAY_MS);
    expect(costs({ since: "1970-04-11" }).notices).toEqual([
      expect.stringContaining("of tasks that ended before 1970-04-13 the log keeps only the end"),
    ]);
    expect(costs().notices).toEqual([]);
  });

  it("is one row of a repository, however that is written", () => {
    const { begin, say, later, facts } = scene();
    for (const taskId of ["Acme/Shop", "acme/shop"]) {
      begin(taskId);
      say(taskId, "succeeded", { result: resultOf({ costUsd: 1 }) });
      later(DAY_MS);
    }
    const spending = new Spending(400);
    const log = new FoldedLog((folded) =>
      spending.apply(folded, { repository: folded.fact.taskId, runner: "codex" }),
    );
    for (const one of facts) log.apply(one);
    const request = CostsRequest.parse({ by: "repository" });
    const { rows } = costsOf(spending, request, DEFAULT_SETTINGS, 102 * DAY_MS);
    expect(rows).toMatchObject([{ key: "Acme/Shop", attempts: 2, costUsd: 2 }]);
  });

  it("adds up to the last digit, and forgets the oldest days only", () => {
    const usage: Partial<AgentUsage> = { costUsd: 0.1 };
    const { begin, say, later, facts } = scene();
    for (let number = 0; number < 30; number++) {
      begin(`t${number}`);
      say(`t${number}`, "succeeded", { result: resultOf(usage) });
      if (number % 10 === 9) later(DAY_MS);
    }
    const spending = new Spending(2);
    const log = new FoldedLog((folded) => spending.apply(folded, { repository: "a/b", runner: "codex" }));
    for (const one of facts) log.apply(one);
    expect(spending.used(102, null).microUsd).toBe(1_000_000);
    expect([...spending.cells()].map(([day]) => day)).toEqual([101, 102]);
  });
});
