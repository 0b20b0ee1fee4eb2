import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  decodeFact,
  FACT_KINDS,
  type Fact,
  factSubject,
  type Malformed,
} from "../../shared/contracts/fact.ts";
import { TaskState } from "../../shared/contracts/task.ts";
import { fold, foldAll } from "../../shared/lifecycle/fold.ts";
import { FoldedLog } from "../../shared/lifecycle/folded-log.ts";
import { isEnd, type Lifecycle, RULES, TABLE, UNKNOWN } from "../../shared/lifecycle/table.ts";
import { anyFact, fact, numbered, request } from "../support/facts.ts";

/** A log on which the guard was obeyed or not: facts of few attempts, hosts and nonces, so that many fit. */
const anyLog = fc.array(anyFact, { maxLength: 40 }).map(numbered);

describe("the table", () => {
  it("decides every fact in every state", () => {
    for (const state of TaskState.options)
      for (const kind of FACT_KINDS) expect(TABLE[state][kind], `${state} × ${kind}`).toBeDefined();
  });

  it("lets nothing out of an end", () => {
    for (const state of TaskState.options.filter(isEnd))
      for (const kind of FACT_KINDS) expect(TABLE[state][kind]).toBe("ignored");
  });

  it("uses every rule", () => {
    const used = Object.values(TABLE).flatMap((row) =>
      Object.values(row).flatMap((cell) => (typeof cell === "object" ? [cell.rule] : [])),
    );
    expect(new Set(used)).toEqual(new Set(Object.keys(RULES)));
  });
});

describe("the fold, over any interleaving of any speakers' facts", () => {
  it("comes to the same state for every reader, wherever each began to hear it live", () => {
    fc.assert(
      fc.property(anyLog, fc.nat(), (log, cut) => {
        const at = log.length === 0 ? 0 : cut % log.length;
        const early = foldAll(log);
        const late = log.slice(at).reduce((task, next) => fold(task, next).task, foldAll(log.slice(0, at)));
        expect(late).toEqual(early);
      }),
    );
  });

  it("does not depend on facts of other tasks in between, nor on a message delivered twice", () => {
    fc.assert(
      fc.property(anyLog, fc.array(fc.nat(), { maxLength: 10 }), (log, repeats) => {
        const reader = new FoldedLog(() => {});
        const alone = new FoldedLog(() => {});
        for (const [index, next] of log.entries()) {
          alone.apply(next);
          reader.apply(next);
          for (const repeat of repeats) {
            const again = log[repeat % log.length];
            if (again && repeat % log.length <= index) reader.apply(again);
          }
        }
        expect([...reader.tasks]).toEqual([...alone.tasks]);
      }),
    );
  });

  it("keeps of every task that has not ended what the fold says of it", () => {
    fc.assert(
      fc.property(anyLog, (log) => {
        const reader = new FoldedLog(() => {});
        log.forEach((next, index) => {
          reader.apply(next);
          const task = foldAll(log.slice(0, index + 1));
          expect(reader.tasks.get(next.taskId)).toEqual(isEnd(task.state) ? undefined : task);
        });
      }),
    );
  });

  it("never leaves an end, and never changes attempt, host or nonce of it", () => {
    fc.assert(
      fc.property(anyLog, (log) => {
        let task: Lifecycle = UNKNOWN;
        for (const next of log) {
          const after = fold(task, next).task;
          if (isEnd(task.state)) expect(after).toEqual({ ...task, lastSequence: next.sequence });
          task = after;
        }
      }),
    );
  });

  it("moves `lastSequence` with every message, ignored ones included", () => {
    fc.assert(
      fc.property(anyLog, (log) => {
        let task: Lifecycle = UNKNOWN;
        for (const next of log) {
          task = fold(task, next).task;
          expect(task.lastSequence).toBe(next.sequence);
        }
      }),
    );
  });

  it("lets one attempt act at most, numbered one by one, and never while the task waits or has ended", () => {
    fc.assert(
      fc.property(anyLog, (log) => {
        let task: Lifecycle = UNKNOWN;
        for (const next of log) {
          const { task: after, counted } = fold(task, next);
          if (counted && next.kind === "started") {
            expect(task.active).toBe(false);
            expect(after.attempt).toBe(task.attempt + 1);
          }
          if (["queued", "waiting", "faulted"].includes(after.state) || isEnd(after.state))
            expect(after.active).toBe(false);
          task = after;
        }
      }),
    );
  });

  it("reads the same from a log whose facts before the end were purged, or all but the first of them", () => {
    fc.assert(
      fc.property(anyLog, (log) => {
        let task: Lifecycle = UNKNOWN;
        for (const [index, next] of log.entries()) {
          const { task: after, counted } = fold(task, next);
          if (counted && isEnd(after.state) && next.body !== null && next.body.after === task.lastSequence) {
            const { state, attempt, hostId, nonce, lastSequence, active } = after;
            for (let left = 0; left < index; left++) {
              const purged = fold(foldAll(log.slice(0, left)), next).task;
              expect(purged).toMatchObject({ state, attempt, hostId, nonce, lastSequence, active });
            }
          }
          task = after;
        }
      }),
    );
  });
});

describe("the fold, case by case", () => {
  const begun = (): (Fact | Malformed)[] => [fact(1, "requested"), fact(2, "started", { after: 1 })];
  const after = (...facts: (Fact | Malformed)[]) => foldAll(facts);

  it("counts the first valid request; what nobody can read leaves the task unknown", () => {
    const unreadable = decodeFact(
      factSubject.build({ taskId: "t1", kind: "requested", speaker: "normal" }),
      new TextEncoder().encode('{"type":"pr_deployment"}'),
      1,
      0,
    );
    expect(unreadable).toMatchObject({ body: null, kind: "requested" });
    expect(after(unreadable as Malformed).state).toBe("unknown");
    expect(after(unreadable as Malformed, fact(2, "requested")).state).toBe("queued");
    expect(
      after(unreadable as Malformed, fact(2, "rejected", { after: 1, message: "unreadable" })).state,
    ).toBe("failed");
  });

  it("takes a success from `queued` and `waiting` while its attempt is the latest and has not faulted", () => {
    const lost = { after: 2, attempt: 1, failures: 1, reason: "lost" } as const;
    expect(after(...begun(), fact(3, "requeued", lost), fact(4, "succeeded", { after: 3 })).state).toBe(
      "succeeded",
    );
    expect(
      after(...begun(), fact(3, "deferred", { ...lost, delayMs: 5 }), fact(4, "succeeded", { after: 3 }))
        .state,
    ).toBe("succeeded");
    expect(
      after(
        ...begun(),
        fact(3, "requeued", lost),
        fact(4, "started", { after: 3, attempt: 2, nonce: "n2" }, "h2"),
        fact(5, "succeeded", { after: 4 }),
      ).state,
    ).toBe("running");
  });

  it("never takes a success while cancelling", () => {
    const wish = fact(3, "cancelRequested", { after: 2, reason: "no" });
    expect(after(...begun(), wish, fact(4, "succeeded", { after: 3 })).state).toBe("cancelling");
  });

  it("cancels only once no attempt is active, or the active one is lost", () => {
    const wish = fact(3, "cancelRequested", { after: 2, reason: "no" });
    const done = { after: 3, attempt: 1, hostId: "h1", nonce: "n1", reason: "no" };
    expect(after(...begun(), wish, fact(4, "cancelled", { ...done, lost: false })).state).toBe("cancelling");
    expect(after(...begun(), wish, fact(4, "cancelled", { ...done, lost: true })).state).toBe("cancelled");
    expect(
      after(
        ...begun(),
        wish,
        fact(4, "faulted", { after: 3 }),
        fact(5, "cancelled", { ...done, after: 4, lost: false }),
      ).state,
    ).toBe("cancelled");
  });

  it("ignores another host's and another nonce's word about an attempt", () => {
    expect(after(...begun(), fact(3, "succeeded", { after: 2 }, "h2")).state).toBe("running");
    expect(after(...begun(), fact(3, "succeeded", { after: 2, nonce: "n2" })).state).toBe("running");
  });

  it("ignores an end said on old knowledge, without a guard", () => {
    expect(after(...begun(), fact(3, "failed", { ...FAILED, after: 1, lost: false })).state).toBe("running");
  });
});

const FAILED = {
  attempt: 1,
  hostId: "h1",
  nonce: "n1",
  failures: 1,
  failure: { category: "lost" as const, message: "" },
  exhausted: false,
};

describe("a request", () => {
  it("is read with fields that a newer version added", () => {
    const decoded = decodeFact(
      factSubject.build({ taskId: "t1", kind: "requested", speaker: "normal" }),
      new TextEncoder().encode(JSON.stringify({ ...request(), newer: { field: 1 } })),
      1,
      0,
    );
    expect(decoded?.body).toMatchObject({ type: "pr_deployment", after: 0 });
    expect(decoded?.body).not.toHaveProperty("newer");
  });
});
