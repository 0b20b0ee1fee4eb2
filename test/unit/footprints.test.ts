// What is learned from attempts about the next ones: bounded, explained, and used for who asks for nothing.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  EXPECTED_MIN_BYTES,
  expectedMemory,
  memoryAfter,
  memoryInWords,
} from "../../services/scheduler/expectation.ts";
import { Fleet } from "../../services/scheduler/fleet.ts";
import { ATTEMPTS_REMEMBERED, Footprints, WORK_REMEMBERED } from "../../services/scheduler/footprints.ts";
import { Queue } from "../../services/scheduler/queue.ts";
import { QueueIndex } from "../../services/scheduler/queue-index.ts";
import { Round } from "../../services/scheduler/round.ts";
import type { AttemptResult } from "../../shared/contracts/attempt-result.ts";
import { type DeployRequest, REQUEST_DEFAULTS } from "../../shared/contracts/deploy-request.ts";
import type { FactBody, FactKind } from "../../shared/contracts/fact.ts";
import { FoldedLog } from "../../shared/lifecycle/folded-log.ts";
import { fact } from "../support/facts.ts";
import { heartbeat } from "../support/heartbeats.ts";
import { GIB, queued } from "../support/placement.ts";

const SHOP = { repository: "acme/shop", type: "pr_deployment", runner: "command" as const };
const LIMIT = REQUEST_DEFAULTS.memoryLimitBytes;
const ROOMY = { limitBytes: LIMIT, largestBytes: 64 * GIB };

function learned(memory: readonly (number | undefined)[], durationMs = 1) {
  const footprints = new Footprints();
  for (const memoryBytes of memory) footprints.add(SHOP, { durationMs, memoryBytes, costUsd: undefined });
  return footprints.usual(SHOP);
}
const expected = (memory: readonly number[], bounds = ROOMY) =>
  expectedMemory(learned(memory), bounds).memoryBytes;
const bytes = fc.integer({ min: 0, max: 16 * GIB });
const many = fc.array(bytes, { minLength: 5, maxLength: 120 });

describe("what a task is expected to need", () => {
  it("is the default until enough attempts have been measured, and then what 95 % of the latest needed", () => {
    expect(expected([])).toBe(REQUEST_DEFAULTS.memoryBytes);
    expect(expected([GIB, GIB, GIB, GIB])).toBe(REQUEST_DEFAULTS.memoryBytes);
    expect(expected([GIB, GIB, GIB, GIB, 2 * GIB])).toBe(2 * GIB);
    expect(expected([...Array(48).fill(GIB), 3 * GIB, 4 * GIB])).toBe(GIB);
    expect(expected([...Array(47).fill(GIB), 2 * GIB, 3 * GIB, 4 * GIB])).toBe(2 * GIB);
  });

  it("lies between a floor and the least of the task's limit and half of the largest host", () => {
    const limit = fc.integer({ min: EXPECTED_MIN_BYTES, max: 16 * GIB });
    const largest = fc.option(fc.integer({ min: 2 * EXPECTED_MIN_BYTES, max: 64 * GIB }));
    fc.assert(
      fc.property(many, limit, largest, (memory, limitBytes, largestBytes) => {
        const most = Math.min(limitBytes, (largestBytes ?? Number.POSITIVE_INFINITY) / 2);
        const { memoryBytes } = expectedMemory(learned(memory), { limitBytes, largestBytes });
        expect(memoryBytes).toBeGreaterThanOrEqual(EXPECTED_MIN_BYTES);
        expect(memoryBytes).toBeLessThanOrEqual(Math.ceil(most));
      }),
    );
  });

  it("is no less where attempts needed more", () => {
    const pairs = fc.array(fc.tuple(bytes, bytes), { minLength: 5, maxLength: 120 });
    fc.assert(
      fc.property(pairs, (samples) => {
        const more = samples.map(([one, other]) => one + other);
        expect(expected(more)).toBeGreaterThanOrEqual(expected(samples.map(([one]) => one)));
      }),
    );
  });

  it("is told by the latest attempts alone", () => {
    const latest = fc.array(bytes, { minLength: ATTEMPTS_REMEMBERED, maxLength: ATTEMPTS_REMEMBERED });
    fc.assert(
      fc.property(many, latest, (before, after) => {
        expect(learned([...before, ...after])).toEqual(learned(after));
      }),
    );
  });

  it("is told by attempts that were measured; the time that others took counts all the same", () => {
    expect(learned([GIB, undefined, undefined], 7)).toEqual({
      durationMs: { attempts: 3, p50: 7, p95: 7 },
      memoryBytes: { attempts: 1, p50: GIB, p95: GIB },
      costUsd: null,
    });
  });

  it("is forgotten of the repository whose attempts ended longest ago", () => {
    const footprints = new Footprints();
    const of = (number: number) => ({ ...SHOP, repository: `acme/r${number}` });
    const sample = { durationMs: 1, memoryBytes: undefined, costUsd: undefined };
    for (let number = 0; number < WORK_REMEMBERED; number++) footprints.add(of(number), sample);
    footprints.add(of(0), sample);
    footprints.add(of(WORK_REMEMBERED), sample);
    expect(footprints.usual(of(1))).toBeNull();
    expect(footprints.usual(of(0))?.durationMs.attempts).toBe(2);
  });
});

describe("a task whose attempt was ended for what it used", () => {
  const GREEDY: AttemptResult = { exitCode: null, durationMs: 1, phases: {}, checks: [], artifacts: [] };
  const counted = { memoryBytes: GIB, memorySource: "request" as const };

  it.each([
    ["as much as the attempt needed", 3 * GIB, ROOMY, 3 * GIB],
    ["no more than its limit", 9 * GIB, ROOMY, LIMIT],
    ["twice as much where nobody measured it", undefined, ROOMY, 2 * GIB],
    ["half of the largest host at most", 3 * GIB, { ...ROOMY, largestBytes: 4 * GIB }, 2 * GIB],
    ["no more where it had memory enough", GIB / 2, ROOMY, GIB],
    ["never less than before", 3 * GIB, { ...ROOMY, largestBytes: GIB }, GIB],
  ])("is counted with %s", (_, peakMemoryBytes, bounds, then) => {
    const result = peakMemoryBytes === undefined ? GREEDY : { ...GREEDY, peakMemoryBytes };
    expect(memoryAfter(counted, result, bounds).memoryBytes).toBe(then);
  });
});

it.each([
  ["request", [], "asked for"],
  [
    "default",
    [GIB],
    "the default, until 5 attempts of acme/shop pr_deployment have been measured (1 so far)",
  ],
  ["default", Array(5).fill(GIB), "the default: placement.learn is false"],
  ["attempts", Array(23).fill(GIB), "95 % of 23 attempts of acme/shop pr_deployment needed no more"],
  [
    "attempts",
    Array(23).fill(6 * GIB),
    "95 % of 23 attempts of acme/shop pr_deployment needed up to 6.4 GB; no more is counted than its limit, or half of the largest host",
  ],
  ["retry", [], "an attempt of it ran out of less"],
] as const)("what is counted by %s is explained", (memorySource, memory, words) => {
  expect(memoryInWords(queued({ memorySource, memoryBytes: GIB }), learned(memory))).toBe(words);
});

/** A scheduler's index over a log of the test's own, in a fleet with one host of 64 GiB. */
function scene() {
  const settings = { learns: true };
  const queue = new Queue();
  const fleet = new Fleet();
  const memory = { totalBytes: 64 * GIB, availableBytes: 64 * GIB };
  fleet.hear(heartbeat({ hostId: "h1", memory }), 0);
  const index = new QueueIndex(queue, fleet, () => settings.learns);
  index.recount(0, 1);
  const log = new FoldedLog((folded) => index.apply(folded, 0));
  let sequence = 0;
  const say = <Kind extends FactKind>(taskId: string, kind: Kind, body: Partial<FactBody<Kind>> = {}) => {
    const after = log.tasks.get(taskId)?.lastSequence ?? 0;
    log.apply({ ...fact(++sequence, kind, { after, ...body }), taskId });
  };
  const ask = (taskId: string, about: Partial<DeployRequest> = {}) => say(taskId, "requested", about);
  const end = (taskId: string, peakMemoryBytes: number) => {
    say(taskId, "started");
    say(taskId, "succeeded", {
      result: { exitCode: 0, durationMs: 1, phases: {}, checks: [], artifacts: [], peakMemoryBytes },
    });
  };
  /** Five attempts that needed that much. */
  const teach = (peakMemoryBytes: number) => {
    for (let number = 0; number < 5; number++) {
      const taskId = `past-${++sequence}`;
      ask(taskId);
      end(taskId, peakMemoryBytes);
    }
  };
  const countedFor = (taskId: string) => queue.get(taskId)?.memoryBytes;
  return { settings, queue, fleet, index, say, ask, end, teach, countedFor };
}

describe("a queued task that asks for no memory", () => {
  it("is counted with what is learned while it waits, and another that asks is not", () => {
    const { ask, teach, countedFor } = scene();
    ask("waits");
    ask("asks", { resources: { memoryBytes: GIB } });
    ask("bounded", { limits: { memoryBytes: 2 * GIB } });
    ask("other", { repository: "acme/other" });
    ask("agent's", { prompt: "fix it" });
    teach(3 * GIB);
    expect(["waits", "asks", "bounded", "other", "agent's"].map(countedFor)).toEqual([
      3 * GIB,
      GIB,
      2 * GIB,
      REQUEST_DEFAULTS.memoryBytes,
      REQUEST_DEFAULTS.memoryBytes,
    ]);
  });

  it("is counted with the default as soon as nothing is to be learned", () => {
    const { settings, index, ask, teach, countedFor } = scene();
    ask("waits");
    teach(3 * GIB);
    settings.learns = false;
    index.recount(0, 1);
    expect(countedFor("waits")).toBe(REQUEST_DEFAULTS.memoryBytes);
    settings.learns = true;
    index.recount(0, 1);
    expect(countedFor("waits")).toBe(3 * GIB);
  });

  it("is counted with no more than half of the largest host that takes work", () => {
    const { index, fleet, ask, teach, countedFor } = scene();
    ask("waits");
    teach(3 * GIB);
    fleet.hear(heartbeat({ hostId: "small", memory: { totalBytes: 4 * GIB, availableBytes: 4 * GIB } }), 0);
    fleet.wish("h1", "cordoned");
    index.recount(0, 1);
    expect(countedFor("waits")).toBe(2 * GIB);
    fleet.wish("h1", null);
    index.recount(0, 1);
    expect(countedFor("waits")).toBe(3 * GIB);
  });

  it("keeps its place, and can still be taken, cancelled and offered once", () => {
    const { queue, say, ask, teach } = scene();
    for (const taskId of ["first", "second", "third", "fourth"]) ask(taskId);
    teach(GIB);
    say("second", "cancelRequested");
    say("first", "started");
    teach(2 * GIB);
    ask("fifth");
    const round = new Round(queue, { nowMs: 0, affords: () => true, admits: () => true, passed: () => {} });
    const offered = [];
    for (let entry = round.next(); entry !== null; entry = round.next()) offered.push(entry.taskId);
    expect(offered).toEqual(["third", "fourth", "fifth"]);
    expect(queue.held).toBeLessThanOrEqual(6);
  });

  it("is counted with more once an attempt of it ran out of memory", () => {
    const { say, ask, teach, countedFor } = scene();
    ask("greedy");
    teach(GIB);
    say("greedy", "started");
    say("greedy", "faulted", {
      failure: { category: "resource", message: "it used more memory than it may" },
      result: {
        exitCode: null,
        durationMs: 1,
        phases: {},
        checks: [],
        artifacts: [],
        peakMemoryBytes: LIMIT,
      },
    });
    say("greedy", "requeued");
    expect(countedFor("greedy")).toBe(LIMIT);
    teach(GIB);
    expect(countedFor("greedy")).toBe(LIMIT);
  });

  it("is told of with what agents cost that worked on its like", () => {
    const { index, say, ask } = scene();
    for (const costUsd of [0.5, 0.25, 2]) {
      const taskId = `at-${costUsd}`;
      ask(taskId, { prompt: "fix it" });
      say(taskId, "started");
      const usage = {
        turns: 1,
        costUsd,
        inputTokens: 1,
        outputTokens: 1,
        cacheReadTokens: 0,
        cacheWriteTokens: 0,
      };
      const about = {
        runner: "claude-code",
        version: "1",
        model: "m",
        sessionId: "s",
        denied: 0,
        summary: "",
      };
      const agent = { ...about, usage };
      say(taskId, "succeeded", {
        result: { exitCode: 0, durationMs: 1, phases: {}, checks: [], artifacts: [], agent },
      });
    }
    expect(index.footprints.usual({ ...SHOP, runner: "claude-code" })).toMatchObject({
      memoryBytes: null,
      costUsd: { attempts: 3, p50: 0.5, p95: 2 },
    });
  });

  it("learns nothing of attempts that were called off, or lost", () => {
    const { index, say, ask } = scene();
    for (const category of ["preempted", "cancelled", "host", "source"] as const) {
      ask(category);
      say(category, "started");
      say(category, "faulted", { failure: { category, message: "it ended" } });
    }
    expect(index.footprints.usual({ ...SHOP, runner: null })).toBeNull();
  });
});
