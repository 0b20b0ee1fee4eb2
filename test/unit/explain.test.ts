// What a person is told of a decision: every host's refusal, what would make the task run, its place and the time.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { explanationText } from "../../services/cli/tasks/explain.ts";
import { outlookOf } from "../../services/scheduler/explain.ts";
import { ahead } from "../../services/scheduler/position.ts";
import { Queue } from "../../services/scheduler/queue.ts";
import type { QueueEntry } from "../../services/scheduler/queue-entry.ts";
import { Round } from "../../services/scheduler/round.ts";
import type { Situation } from "../../services/scheduler/situation.ts";
import type { Constraint } from "../../shared/contracts/constraint.ts";
import { PRIORITIES } from "../../shared/contracts/deploy-request.ts";
import { Outlook, type Usual } from "../../shared/contracts/outlook.ts";
import { fleetOf, queued, situation } from "../support/placement.ts";

const GB = 1e9;
const MINUTE_MS = 60_000;
const gpu: Constraint = { label: "gpu", operator: "exists", values: [] };

const usual = (ms: number): Usual => ({
  durationMs: { attempts: 9, p50: ms, p95: ms },
  memoryBytes: null,
  costUsd: null,
});

const told = (
  task: Partial<QueueEntry>,
  hosts: Parameters<typeof fleetOf>[0],
  {
    typicalMs = null,
    before = 0,
    ...now
  }: Partial<Situation> & { typicalMs?: number | null; before?: number } = {},
) =>
  Outlook.parse(
    outlookOf(
      queued(task),
      fleetOf(hosts),
      situation({ usual: () => (typicalMs === null ? null : usual(typicalMs)), ...now }),
      {
        ahead: before,
        heldUp: null,
        at: new Date(0),
      },
    ),
  );

describe("a task that fits nowhere", () => {
  const memory = { totalBytes: 8 * GB, availableBytes: 3 * GB };
  const run = { memoryBytes: 2 * GB, sinceMs: -MINUTE_MS };
  const hosts = {
    h1: { draining: true },
    h2: { draining: true },
    h3: { draining: true },
    h4: { labels: { gpu: "1" }, memory, runs: [run] },
    h5: { labels: { gpu: "1" }, memory: { ...memory, availableBytes: 2.5 * GB } },
    h6: {},
    h7: {},
    h8: { labels: { gpu: "1" }, avoidUntilMs: 5 },
  };
  const task = { constraints: [gpu], memoryBytes: 4 * GB };

  it("is told of with every host's refusal", () => {
    const { receipt, candidates } = told(task, hosts);
    expect(receipt).toMatchObject({ hostId: null, hosts: 8, feasible: 0 });
    expect(receipt.summary).toBe(
      "8 hosts: 3 draining, 2 do not meet gpu, 2 have at most 3.0 of 4.0 GB free, 1 refused: full",
    );
    expect(candidates.find(({ hostId }) => hostId === "h5")).toEqual({
      hostId: "h5",
      refusal: "memory",
      words: "has 2.5 of 4.0 GB free",
      score: null,
    });
  });

  it("is told of with what would make it run, and when, as far as that is known", () => {
    const { h8, ...others } = hosts;
    expect(told(task, others, { typicalMs: 7 * MINUTE_MS })).toMatchObject({
      wouldRun: "would run on h4 when 1.0 GB more are free, about 7 minutes",
      etaMs: 7 * MINUTE_MS,
    });
    expect(told(task, others)).toMatchObject({
      wouldRun: "would run on h4 when 1.0 GB more are free, in 30 minutes at most",
      etaMs: null,
    });
    expect(told(task, { h5: hosts.h5 })).toMatchObject({
      wouldRun: "would run on h5 when 1.5 GB more are free",
      etaMs: null,
    });
    expect(told(task, others, { typicalMs: 7 * MINUTE_MS, before: 2 })).toMatchObject({
      position: 3,
      wouldRun: "would run on h4 when 1.0 GB more are free, about 7 minutes (2 tasks before it)",
      etaMs: 21 * MINUTE_MS,
    });
    expect(h8).toBeDefined();
  });

  it("is told of with the reasons of the owners who withhold their machines, and when the first lets it begin", () => {
    const withheld = (why: string, until: string | null = null) => ({ withheld: { why, until } });
    const { candidates, receipt, wouldRun } = told(
      {},
      {
        h1: withheld("it runs on battery"),
        h2: withheld("its owner is using it (idle for 2 of 15 min)"),
        h3: { ...withheld("paused"), draining: true },
      },
    );
    expect(receipt.summary).toBe(
      "3 hosts: 1 draining, 2 begin no work (h1: it runs on battery; h2: its owner is using it (idle for 2 of 15 min))",
    );
    expect(candidates[0]?.words).toBe("begins no work: it runs on battery");
    expect(wouldRun).toBe("would run on h1 if it began work again");
    const clock = told({}, { h1: withheld("it is not within 18:00-8:00", "2026-11-27T18:00:00.000Z") });
    expect(clock.wouldRun).toBe("would run on h1 from 2026-11-27T18:00:00.000Z on");
    const many = Object.fromEntries(Array.from({ length: 50 }, (_, index) => [`h${index}`, withheld("no")]));
    expect(told({}, many).receipt.summary).toBe(
      "50 hosts: 50 begin no work (h0: no; h1: no; h2: no; and 47 more)",
    );
  });

  it.each([
    [task, { h1: { draining: true, labels: { gpu: "1" } } }, "would run on h1 if it were draining no longer"],
    [task, { h1: { heardAtMs: -20_000, labels: { gpu: "1" } } }, "would run on h1 if it were back"],
    [task, { h6: {} }, "would run if a host met gpu"],
    [{ cpus: 64 }, { h6: {} }, "would run if a host had 64 CPUs"],
    [{ memoryBytes: 95 * GB }, { h6: {} }, "would run if a host had 100.0 GB of memory"],
    [{ fork: true }, { h6: {} }, "would run if a host took work from forks (MESH_HOST_UNTRUSTED=1)"],
    [{}, { h6: { runs: [{}, {}] } }, "would run on h6 when a slot is free, in 30 minutes at most"],
    [{}, {}, "would run if a host joined"],
  ])("%j on %j: %s", (asked, fleet, words) => {
    expect(told(asked, fleet as typeof hosts).wouldRun).toBe(words);
  });
});

it("a task that fits is told of with every host's score, the best first", () => {
  const { receipt, candidates, wouldRun, etaMs } = told({}, { a: { runs: [{}] }, b: {} });
  expect(receipt).toMatchObject({ hostId: "b", feasible: 2 });
  expect(candidates.map(({ hostId, refusal }) => [hostId, refusal])).toEqual([
    ["b", null],
    ["a", null],
  ]);
  expect(candidates[0]?.score?.total).toBeGreaterThan(candidates[1]?.score?.total ?? 1);
  expect([wouldRun, etaMs]).toEqual([null, 0]);
});

it("a task is told of with the memory that is counted for it, and what its like took", async () => {
  const costUsd = { attempts: 23, p50: 0.4, p95: 1.5 };
  const memoryBytes = { attempts: 23, p50: 1.2 * GB, p95: 1.8 * GB };
  const known = {
    durationMs: { attempts: 30, p50: 7 * MINUTE_MS, p95: 20 * MINUTE_MS },
    memoryBytes,
    costUsd,
  };
  const task = queued({ memorySource: "attempts", memoryBytes: 1.8 * GB, runner: "claude-code" });
  const outlook = outlookOf(task, fleetOf({ h1: {} }), situation({ usual: () => known }), {
    ahead: 0,
    heldUp: null,
    at: new Date(0),
  });
  expect(outlook.usual).toEqual(known);
  const { position: queuePosition, ...about } = outlook;
  const text = await explanationText({
    taskId: "t1",
    state: "queued",
    queuePosition,
    summary: "queued",
    ...about,
  });
  expect(text).toContain(
    "1.8 GB: 95 % of 23 attempts of acme/shop pr_deployment by claude-code needed no more\n",
  );
  expect(text).toContain("7 min 0 s, 95 % of 30 attempts at most 20 min 0 s\n");
  expect(text).toContain("$0.40, 95 % of 23 attempts at most $1.50\n");
  expect(text).toContain("1.2 GB, 95 % of 23 attempts at most 1.8 GB\n");
});

it("every host is told of as refused or as fit, and never as both", () => {
  const anyHost = fc.record({
    draining: fc.boolean(),
    labels: fc.constantFrom({}, { gpu: "1" }),
    runs: fc.array(fc.constant({}), { maxLength: 3 }),
  });
  fc.assert(
    fc.property(fc.dictionary(fc.stringMatching(/^h[0-9]$/), anyHost), (hosts) => {
      const { candidates, receipt } = told({ constraints: [gpu] }, hosts);
      expect(candidates.map(({ hostId }) => hostId).toSorted()).toEqual(Object.keys(hosts).toSorted());
      for (const { refusal, score } of candidates) expect(refusal === null).toBe(score !== null);
      expect(candidates.filter(({ refusal }) => refusal === null)).toHaveLength(receipt.feasible);
    }),
  );
});

describe("a place in line", () => {
  const anyTask = fc.record({
    priority: fc.constantFrom(...PRIORITIES),
    repository: fc.constantFrom("a", "b", "c"),
    memoryBytes: fc.constantFrom(1, 2),
  });

  it("is where the task is placed, give or take a turn of each repository, a little more between priorities", () => {
    fc.assert(
      fc.property(fc.array(anyTask, { minLength: 1, maxLength: 40 }), (drafts) => {
        const queue = new Queue();
        for (const [index, draft] of drafts.entries())
          queue.add(queued({ taskId: `t${index}`, sequence: index + 1, ...draft }));
        const expected = new Map(drafts.map((_, index) => [`t${index}`, 0]));
        for (const taskId of expected.keys())
          expected.set(taskId, ahead(queue, queue.get(taskId) as QueueEntry, {}));
        const round = new Round(queue, {
          nowMs: 0,
          affords: () => true,
          admits: () => true,
          passed: () => {},
        });
        let placed = 0;
        for (let entry = round.next(); entry !== null; entry = round.next()) {
          expect(Math.abs((expected.get(entry.taskId) ?? 0) - placed)).toBeLessThanOrEqual(4);
          round.take(entry, 1);
          placed++;
        }
      }),
    );
  });

  it("is exact for one repository and priority", () => {
    const queue = new Queue();
    for (let number = 1; number <= 5; number++) queue.add(queued({ taskId: `t${number}`, sequence: number }));
    expect(ahead(queue, queue.get("t4") as QueueEntry, {})).toBe(3);
  });
});
