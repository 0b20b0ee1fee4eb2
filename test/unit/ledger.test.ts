import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Ledger } from "../../services/status-tracker/ledger.ts";
import { PRIORITIES } from "../../shared/contracts/deploy-request.ts";
import { anyFact, numbered } from "../support/facts.ts";

describe("the ledger", () => {
  it("counts the unfinished tasks of each priority, whatever is said about them", () => {
    const named = fc.record({
      fact: anyFact,
      taskId: fc.constantFrom("t1", "t2", "t3", "t4"),
      priority: fc.constantFrom(...PRIORITIES),
    });
    fc.assert(
      fc.property(fc.array(named, { maxLength: 40 }), (drawn) => {
        const ledger = new Ledger({ factsOfTask: async () => [] }, 60_000);
        for (const [index, fact] of numbered(drawn.map((one) => one.fact)).entries()) {
          const { taskId, priority } = drawn[index] ?? { taskId: "t1", priority: "normal" };
          ledger.apply({ ...fact, taskId, ...(fact.kind === "requested" ? { speaker: priority } : {}) });
        }
        const counted = { high: 0, normal: 0, low: 0 };
        for (const { view } of ledger.active.values()) counted[view.priority]++;
        expect(ledger.unfinished).toEqual(counted);
      }),
    );
  });
});
