// The checker of the chaos suite on histories made by hand: a good one passes, and each invariant's breach is caught.
import { describe, expect, it } from "vitest";
import { violationsOf } from "../chaos/checker.ts";
import type { Act, History } from "../chaos/history.ts";
import { fact } from "../support/facts.ts";

const act = (attempt: number, hostId: string, atMs: number): Act => ({ taskId: "t1", attempt, hostId, atMs });
const started = (sequence: number, attempt: number, hostId: string) =>
  fact(sequence, "started", { after: sequence - 1, attempt, nonce: `n${attempt}` }, hostId);
const succeeded = (sequence: number, attempt: number, hostId: string) =>
  fact(sequence, "succeeded", { after: sequence - 1, attempt, nonce: `n${attempt}` }, hostId);
const lost = (sequence: number) =>
  fact(sequence, "requeued", {
    after: sequence - 1,
    reason: "lost",
    failure: { category: "lost", message: "h1 went silent" },
  });

/** Attempt 1 is lost on h1 at 10 s, attempt 2 succeeds on h2; facts are a second apart, from 8 s. */
const moved = [
  fact(8, "requested"),
  started(9, 1, "h1"),
  lost(10),
  started(11, 2, "h2"),
  succeeded(12, 2, "h2"),
];
const history = (overrides: Partial<History> = {}): History => ({
  facts: moved,
  acts: [act(1, "h1", 9_100), act(1, "h1", 9_900), act(2, "h2", 11_100), act(2, "h2", 11_900)],
  acknowledged: [{ taskId: "t1", kind: "works" }],
  told: (overrides.facts ?? moved).map(({ sequence }) => sequence),
  dead: [],
  shown: [],
  leftovers: [],
  wakes: [],
  busBackAtMs: [],
  slots: 1,
  silenceMs: 5_000,
  wakeAllowanceMs: 500,
  ...overrides,
});

const breaches = (overrides: Partial<History>) => [
  ...new Set(violationsOf(history(overrides)).map(({ invariant }) => invariant)),
];

describe("the checker", () => {
  it("finds nothing in a history in which a lost attempt's task moves on", () => {
    expect(violationsOf(history())).toEqual([]);
  });

  it("1: misses an acknowledged task that is not on the log", () => {
    expect(breaches({ facts: [], acts: [] })).toEqual([1]);
  });

  it("1: misses an end", () => {
    expect(breaches({ facts: moved.slice(0, 4) })).toEqual([1]);
  });

  it("1: knows the ends that a task may have", () => {
    expect(breaches({ acknowledged: [{ taskId: "t1", kind: "fails" }] })).toEqual([1]);
  });

  it("2: sees an older attempt act after the newer has", () => {
    expect(breaches({ acts: [act(2, "h2", 11_100), act(1, "h1", 11_200)] })).toEqual([2]);
  });

  it("2: sees an attempt act after it was called lost, before any other has", () => {
    expect(breaches({ acts: [act(1, "h1", 10_300)] })).toEqual([2]);
  });

  it("2: sees an attempt act that never started, or before its start", () => {
    expect(breaches({ acts: [act(3, "h1", 11_500)] })).toEqual([2]);
    expect(breaches({ acts: [act(1, "h2", 9_500)] })).toEqual([2]);
    expect(breaches({ acts: [act(1, "h1", 8_900)] })).toEqual([2]);
  });

  it("2: allows the moment after a sleep, and no more than that", () => {
    const wakes = [{ hostId: "h1", atMs: 11_000 }];
    expect(breaches({ wakes, acts: [act(1, "h1", 11_400)] })).toEqual([]);
    expect(breaches({ wakes, acts: [act(1, "h1", 11_600)] })).toEqual([2]);
    expect(breaches({ wakes: [{ hostId: "h2", atMs: 11_000 }], acts: [act(1, "h1", 11_400)] })).toEqual([2]);
  });

  it("3: sees what is on the log after an end", () => {
    expect(breaches({ facts: [...moved, started(13, 3, "h1")] })).toEqual([3]);
  });

  it("4: sees a task that was requested twice", () => {
    expect(breaches({ facts: [fact(7, "requested"), ...moved] })).toEqual([4]);
  });

  it("5: sees more at a time on a host than it has slots", () => {
    const other = moved.map((fact) => ({ ...fact, taskId: "t2" }));
    const acts = history().acts.flatMap((act) => [act, { ...act, taskId: "t2" }]);
    const facts = [...moved, ...other];
    expect(breaches({ facts, acts, slots: 2 })).toEqual([]);
    expect(breaches({ facts, acts, slots: 1 })).toEqual([5]);
  });

  it("6: sees a cancelled task act", () => {
    const facts = [
      ...moved.slice(0, 2),
      fact(10, "cancelRequested", { after: 9 }),
      fact(11, "faulted", { after: 10, failure: { category: "cancelled", message: "on request" } }),
      fact(12, "cancelled", { after: 11 }),
    ];
    const acknowledged = [{ taskId: "t1", kind: "cancelled" as const }];
    const until = (atMs: number) => ({
      facts,
      acknowledged,
      acts: [act(1, "h1", 9_100), act(1, "h1", atMs)],
    });
    expect(breaches(until(10_900))).toEqual([]);
    expect(breaches(until(11_200))).toEqual([6]);
  });

  it("6: sees a process that outlived its task", () => {
    expect(breaches({ leftovers: ["process 4711"] })).toEqual([6]);
  });

  it("7: sees an event left out, told twice, or told out of order", () => {
    expect(breaches({ told: [8, 9, 11, 12] })).toEqual([7]);
    expect(breaches({ told: [8, 9, 9, 10, 11, 12] })).toEqual([7]);
    expect(breaches({ told: [8, 10, 9, 11, 12] })).toEqual([7]);
    expect(breaches({ told: [8, 9, 10, 11] })).toEqual([7]);
  });

  it("8: sees a message nobody can decode that was not set aside, or twice, and a good one that was", () => {
    const poison = { ...fact(7, "requested"), taskId: "t2", body: null, problem: "no JSON" };
    const facts = [poison, ...moved];
    expect(breaches({ facts, dead: [7] })).toEqual([]);
    expect(breaches({ facts, dead: [] })).toEqual([8]);
    expect(breaches({ facts, dead: [7, 7] })).toEqual([8]);
    expect(breaches({ dead: [9] })).toEqual([8]);
  });

  it("9: sees a host called silent within a grace period of the bus's return", () => {
    expect(breaches({ busBackAtMs: [5_000] })).toEqual([]);
    expect(breaches({ busBackAtMs: [5_001] })).toEqual([9]);
    expect(breaches({ busBackAtMs: [11_000] })).toEqual([]);
  });

  it("10: sees a task shown as something else than the log says", () => {
    const shown = { taskId: "t1", state: "succeeded" as const, attempt: 2, hostId: "h2" };
    expect(breaches({ shown: [shown] })).toEqual([]);
    expect(breaches({ shown: [{ ...shown, state: "running" }] })).toEqual([10]);
    expect(breaches({ shown: [{ ...shown, attempt: 1 }] })).toEqual([10]);
    expect(breaches({ shown: [{ ...shown, hostId: "h1" }] })).toEqual([10]);
  });
});
