// The judge of `mesh drill` on histories that are bad, each in one way.
import { describe, expect, it } from "vitest";
import { type Act, judge } from "../../services/cli/drill/judgement.ts";
import type { Fact } from "../../shared/contracts/fact.ts";
import { fact } from "../support/facts.ts";

/** The broker's clock of a fact is its sequence in seconds; a host's is five minutes ahead. */
const SKEW_MS = 300_000;
const act = (attempt: number, hostId: string, storedMs: number, lateMs = 10): Act => ({
  taskId: "t1",
  attempt,
  hostId,
  atMs: storedMs - lateMs + SKEW_MS,
  storedMs,
});

const first = { attempt: 1, nonce: "n1" };
const second = { attempt: 2, nonce: "n2" };
const FACTS: Fact[] = [
  fact(1, "requested"),
  fact(2, "started", { after: 1, ...first }),
  fact(10, "requeued", { after: 2, attempt: 1, reason: "lost" }),
  fact(11, "started", { after: 10, ...second }, "h2"),
  fact(20, "succeeded", { after: 11, ...second }, "h2"),
];
const ACTS = [act(1, "h1", 2_100), act(1, "h1", 5_000), act(2, "h2", 11_100), act(2, "h2", 19_900)];
const evidence = { facts: FACTS, acts: ACTS, recoveredMs: 9_000, mustGoOn: false };

describe("a drill", () => {
  it("is good when what was lost was begun again after that, whatever the hosts' clocks say", () => {
    expect(judge(evidence)).toEqual({ ok: true, twice: [], anew: ["t1 began 2 times"] });
  });

  it("is bad when it did not work again", () => {
    expect(judge({ ...evidence, recoveredMs: null })).toMatchObject({ ok: false, twice: [] });
  });

  it("is bad when an attempt acts after it was called lost", () => {
    const { ok, twice } = judge({ ...evidence, acts: [...ACTS, act(1, "h1", 12_000)] });
    expect({ ok, twice }).toEqual({ ok: false, twice: ["t1: attempt 1 on h1 acted 2000 ms after its end"] });
  });

  it("is bad when an attempt acts before the log let it", () => {
    const { ok, twice } = judge({ ...evidence, acts: [...ACTS, act(2, "h2", 9_000)] });
    expect({ ok, twice }).toEqual({
      ok: false,
      twice: ["t1: attempt 2 on h2 acted 2000 ms before it had begun"],
    });
  });

  it("is bad when somebody acts of whom the log knows nothing", () => {
    const { ok, twice } = judge({ ...evidence, acts: [...ACTS, act(1, "h3", 5_000)] });
    expect({ ok, twice }).toEqual({
      ok: false,
      twice: ["t1: attempt 1 on h3 acted, and the log knows nothing of it"],
    });
  });

  it("is bad when a task has two results", () => {
    const again = fact(21, "succeeded", { after: 20, ...first });
    const { ok, twice } = judge({ ...evidence, facts: [...FACTS, again] });
    expect({ ok, twice }).toEqual({ ok: false, twice: ["t1 has 2 results on the log"] });
  });

  it("is bad when an attempt is begun anew that should have gone on", () => {
    expect(judge({ ...evidence, mustGoOn: true })).toMatchObject({ ok: false, twice: [] });
  });

  it("does not take a line that the broker got late for one that was written late", () => {
    const late = act(1, "h1", 12_000, 7_000);
    expect(judge({ ...evidence, acts: [...ACTS, late] })).toMatchObject({ ok: true, twice: [] });
  });
});
