import { describe, expect, it } from "vitest";
import { DeadLetters } from "../../services/status-tracker/dead-letters.ts";
import { Ledger } from "../../services/status-tracker/ledger.ts";
import { failedAttempts } from "../../services/status-tracker/story.ts";
import type { Fact } from "../../shared/contracts/fact.ts";
import { fact } from "../support/facts.ts";

const of = (taskId: string, one: Fact): Fact => ({ ...one, taskId });
const dies = (taskId: string, sequence: number): Fact[] => [
  of(taskId, fact(sequence, "requested")),
  of(taskId, fact(sequence + 1, "started", { after: sequence })),
  of(taskId, fact(sequence + 2, "faulted", { after: sequence + 1 })),
  of(taskId, fact(sequence + 3, "failed", { after: sequence + 2, exhausted: true })),
];

describe("the index of dead letters", () => {
  it("keeps those that the ledger has long forgotten, and their stories are read from the log", async () => {
    const ledger = new Ledger({ factsOfTask: async () => dies("t0", 1) }, 60_000);
    for (let number = 0; number < 10_050; number++)
      for (const one of dies(`t${number}`, number * 4 + 1)) ledger.apply(one);
    expect(ledger.newestFirst()).toHaveLength(10_000);
    expect(ledger.deadLetters.list({})).toHaveLength(10_050);
    expect(ledger.deadLetters.list({})[0]).toMatchObject({ taskId: "t0", repository: "acme/shop" });
    expect(await ledger.find("t0")).toMatchObject({ view: { state: "failed" } });
  });

  it("drops the oldest beyond its limit, and what is done again", () => {
    const letters = new DeadLetters(2);
    for (const [index, id] of ["a", "b", "c"].entries())
      letters.apply(of(id, fact(index + 1, "failed", { exhausted: true })), "acme/shop");
    expect(letters.list({}).map(({ taskId }) => taskId)).toEqual(["b", "c"]);
    const again = of("b2", fact(4, "requested"));
    Object.assign(again.body, { retryOf: "b" });
    letters.apply(again, "acme/shop");
    expect(letters.list({}).map(({ taskId }) => taskId)).toEqual(["c"]);
    letters.apply(of("refuted", fact(5, "failed", { exhausted: false })), "acme/shop");
    expect(letters.list({}).map(({ taskId }) => taskId)).toEqual(["c"]);
  });
});

describe("the story of a task", () => {
  it("tells each attempt with its host, its times and what went wrong, lost ones included", () => {
    const lost = { category: "lost" as const, message: "went silent" };
    const full = { category: "host" as const, message: "the disk is full" };
    const log = [
      fact(1, "requested"),
      fact(2, "started", { after: 1 }),
      fact(5, "requeued", { after: 2, reason: "lost", failure: lost }),
      fact(6, "started", { after: 5, attempt: 2, nonce: "n2" }, "h2"),
      // Of an attempt that is over: it counts for nothing.
      fact(7, "faulted", { after: 2, failure: full }),
      fact(8, "faulted", { after: 7, attempt: 2, nonce: "n2", failure: full }, "h2"),
      fact(9, "failed", { after: 8, attempt: 2, failure: full, exhausted: true }),
    ];
    const at = (second: number) => new Date(second * 1_000).toISOString();
    expect(failedAttempts(log)).toEqual([
      { attempt: 1, hostId: "h1", startedAt: at(2), endedAt: at(5), ...lost },
      { attempt: 2, hostId: "h2", startedAt: at(6), endedAt: at(8), ...full },
    ]);
  });
});
