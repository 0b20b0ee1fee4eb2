// The order in which queued tasks are offered: fair between repositories, and between priorities with a bound.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Queue, SHARES } from "../../services/scheduler/queue.ts";
import type { QueueEntry } from "../../services/scheduler/queue-entry.ts";
import { Round } from "../../services/scheduler/round.ts";
import { PRIORITIES, type Priority } from "../../shared/contracts/deploy-request.ts";
import { queued } from "../support/placement.ts";

const EVERYBODY = { nowMs: 0, admits: () => true, affords: () => true, passed: () => {} };

/** Places the next task of the queue; null when there is none. */
function placeOne(queue: Queue, share = 1, admits: (repository: string) => boolean = () => true) {
  const entry = new Round(queue, { ...EVERYBODY, admits }).next();
  if (entry === null) return null;
  queue.charge(entry, share);
  queue.remove(entry.taskId);
  return entry;
}

let number = 0;
const task = (overrides: Partial<QueueEntry> = {}): QueueEntry => {
  number++;
  return queued({ taskId: `t${number}`, sequence: number, ...overrides });
};

/** Places all in one pass. */
function order(queue: Queue, nowMs = 0): string[] {
  const round = new Round(queue, { ...EVERYBODY, nowMs });
  const ids: string[] = [];
  for (let entry = round.next(); entry !== null; entry = round.next()) {
    round.take(entry, 1);
    ids.push(entry.taskId);
  }
  return ids;
}

describe("the queue", () => {
  it("offers every task once in a pass, each repository's of one priority by age, whatever came or left before", () => {
    const anyStep = fc.record({
      id: fc.nat(15),
      priority: fc.constantFrom(...PRIORITIES),
      repository: fc.constantFrom("a", "b", "c"),
      memoryBytes: fc.constantFrom(1, 2),
      add: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(anyStep, { maxLength: 60 }), (steps) => {
        const queue = new Queue();
        const model = new Map<string, QueueEntry>();
        for (const { id, add, ...about } of steps) {
          const taskId = `t${id}`;
          queue.remove(taskId);
          model.delete(taskId);
          if (!add) continue;
          const added = queued({ taskId, sequence: (id * 7) % 16, ...about });
          queue.add(added);
          model.set(taskId, added);
        }
        const offered = order(queue).map((taskId) => model.get(taskId) as QueueEntry);
        expect(offered.toSorted(bySequence)).toEqual([...model.values()].toSorted(bySequence));
        expect(queue.size).toBe(model.size);
        for (const priority of PRIORITIES)
          for (const repository of ["a", "b", "c"]) {
            const its = offered.filter((one) => one.priority === priority && one.repository === repository);
            expect(its).toEqual(its.toSorted(bySequence));
          }
      }),
    );
  });
  const bySequence = (one: QueueEntry, other: QueueEntry) => one.sequence - other.sequence;

  it("starts every low task within the bound, under a permanent flood of high and normal", () => {
    const total = SHARES.high + SHARES.normal + SHARES.low;
    fc.assert(
      fc.property(
        fc.array(fc.nat(60), { minLength: 1, maxLength: 8 }),
        fc.integer({ min: 1, max: 40 }),
        fc.boolean(),
        (arrivals, flood, alsoNormal) => {
          const queue = new Queue();
          const due = new Map<string, number>();
          let low = 0;
          const fill = (priority: Priority) => {
            while (queue.levels[priority].size < flood) queue.add(task({ priority }));
          };
          for (let placed = 0; placed < 400; placed++) {
            fill("high");
            if (alsoNormal) fill("normal");
            for (const _ of arrivals.filter((at) => at === placed)) {
              const waiting = task({ priority: "low" });
              queue.add(waiting);
              due.set(waiting.taskId, placed + total * (low + 1) + 2);
              low++;
            }
            const entry = placeOne(queue);
            if (entry?.priority !== "low") continue;
            expect(placed + 1).toBeLessThanOrEqual(due.get(entry.taskId) ?? 0);
            due.delete(entry.taskId);
            low--;
          }
          expect([...due]).toEqual([]);
        },
      ),
    );
  });

  it("places urgent work first, and gives the others their shares", () => {
    const queue = new Queue();
    for (const priority of PRIORITIES.toReversed())
      for (let count = 0; count < 42; count++) queue.add(task({ priority }));
    const placed = Array.from({ length: 42 }, () => placeOne(queue)?.priority);
    expect(placed.slice(0, 3)).toEqual(["high", "high", "high"]);
    const counted = Object.fromEntries(
      PRIORITIES.map((priority) => [priority, placed.filter((one) => one === priority).length]),
    );
    expect(counted).toEqual({ high: 32, normal: 8, low: 2 });
  });

  it("gives a priority that was idle nothing for the time that it was", () => {
    const queue = new Queue();
    for (let count = 0; count < 100; count++) queue.add(task({ priority: "high" }));
    for (let count = 0; count < 50; count++) placeOne(queue);
    for (let count = 0; count < 10; count++) queue.add(task({ priority: "low" }));
    const placed = Array.from({ length: 15 }, () => placeOne(queue)?.priority);
    expect(placed.filter((one) => one === "low")).toHaveLength(0);
  });

  it("never lets a repository with many tasks get ahead of another by more than a turn", () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 2, maxLength: 5 }),
        fc.integer({ min: 1, max: 4 }),
        (sizes, share) => {
          const queue = new Queue();
          for (const [index, size] of sizes.entries())
            for (let count = 0; count < size; count++) queue.add(task({ repository: `r${index}` }));
          const placed = sizes.map(() => 0);
          for (let entry = placeOne(queue, share); entry !== null; entry = placeOne(queue, share)) {
            const index = Number(entry.repository.slice(1));
            placed[index] = (placed[index] ?? 0) + 1;
            for (const [other, count] of placed.entries())
              if (count < (sizes[other] ?? 0))
                expect((placed[index] ?? 0) - count).toBeLessThanOrEqual(share);
          }
          expect(placed).toEqual(sizes);
        },
      ),
    );
  });

  it("passes a repository that may place nothing now, which has its turn as soon as it may", () => {
    const queue = new Queue();
    const held = task({ repository: "held" });
    queue.add(held);
    for (let count = 0; count < 3; count++) queue.add(task({ repository: "other" }));
    expect(placeOne(queue, 1, (repository) => repository !== "held")?.repository).toBe("other");
    expect(placeOne(queue)?.taskId).toBe(held.taskId);
  });

  it("passes tasks that nobody can take by those that ask for less, without looking at each", () => {
    const queue = new Queue();
    for (let count = 0; count < 50; count++)
      queue.add(task({ memoryBytes: 99, repository: `r${count % 3}` }));
    const small = task({ memoryBytes: 1, repository: "r0" });
    queue.add(small);
    const round = new Round(queue, EVERYBODY);
    const offered = [];
    for (let entry = round.next(); entry !== null; entry = round.next()) {
      offered.push(entry.memoryBytes);
      if (entry.memoryBytes > 1) round.refuse(entry, true);
      else round.take(entry, 1);
    }
    expect(offered).toEqual([99, 1]);
  });

  it("offers no task that asks for more than another that nobody can take, and tells of one of each size", () => {
    const queue = new Queue();
    const sizes = [4, 6, 5, 6, 3];
    for (const [count, memoryBytes] of sizes.entries())
      queue.add(task({ memoryBytes, repository: `r${count}` }));
    queue.add(task({ memoryBytes: 9, cpus: 2, repository: "r9" }));
    const [offered, passed]: number[][] = [[], []];
    const round = new Round(queue, { ...EVERYBODY, passed: ({ memoryBytes }) => passed?.push(memoryBytes) });
    for (let entry = round.next(); entry !== null; entry = round.next()) {
      offered?.push(entry.memoryBytes);
      round.refuse(entry, true);
    }
    expect(offered).toEqual([4, 3, 9]);
    expect(passed).toEqual([6, 5]);
  });

  it("charges a task once, though hosts refuse it", () => {
    const queue = new Queue();
    const [refused, other] = [task({ repository: "a" }), task({ repository: "b" })];
    for (const entry of [refused, other, task({ repository: "a" })]) queue.add(entry);
    queue.charge(refused, 1);
    queue.charge(refused, 1);
    expect(placeOne(queue)?.taskId).toBe(other.taskId);
    expect(placeOne(queue)?.taskId).toBe(refused.taskId);
  });

  it("offers nothing before its time", () => {
    const queue = new Queue();
    queue.add(task({ notBeforeMs: 10 }));
    expect(order(queue, 9)).toEqual([]);
    expect(order(queue, 10)).toHaveLength(1);
  });
});
