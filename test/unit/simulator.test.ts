// `mesh simulate`: the scheduler's own core on machines and tasks that are not there.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { svgChart } from "../../services/simulator/chart.ts";
import { type DeciderName, type Job, runJob } from "../../services/simulator/compare.ts";
import { History } from "../../services/simulator/history.ts";
import { drawMachines, machinesOf } from "../../services/simulator/machines.ts";
import { jain, quantile, variation } from "../../services/simulator/measures.ts";
import { rowOf } from "../../services/simulator/verdict.ts";
import { drawWorkload, type TaskRow, workloadOf } from "../../services/simulator/workload.ts";
import { DEFAULT_SETTINGS, PlacementPolicy } from "../../shared/config/settings.ts";
import { FoldedLog } from "../../shared/lifecycle/folded-log.ts";
import { fact } from "../support/facts.ts";

const GB = 1e9;

function job(decider: DeciderName, overrides: Partial<Job> & { tasks?: number; burst?: number } = {}): Job {
  const { tasks = 400, burst = 1, seed = 1, ...rest } = overrides;
  const machines = rest.machines ?? drawMachines(seed, 8);
  const workload = drawWorkload({ seed, tasks, load: 0.8, burst }, machines);
  return {
    decider,
    machines,
    workload,
    seed,
    heartbeatMs: 1_000,
    weights: DEFAULT_SETTINGS["placement.weights"],
    ...rest,
  };
}

async function outcome(of: Job) {
  const ran = await runJob(of);
  if (!ran.ok) throw new Error(ran.error.message);
  return ran.value;
}

const task = (overrides: Partial<TaskRow> = {}): TaskRow => ({
  arrivalMs: 0,
  workMs: 600_000,
  askedBytes: GB,
  usedBytes: GB,
  askedCpus: 1,
  usedCpus: 0.5,
  repository: 0,
  ...overrides,
});
/** Nobody sits at it. */
const machine = (memoryBytes: number, slots = 4) => ({
  memoryBytes,
  cores: 8,
  slots,
  owner: { memoryShare: 0, cpuShare: 0 },
});
const tasks = (...rows: TaskRow[]) => workloadOf(rows, ["acme/shop"]);

describe("a simulated run", { timeout: 60_000 }, () => {
  it.each(["omniscient", ...PlacementPolicy.options] as const)(
    "by %s is the same for the same seed, and has every task end, be killed, or fit nowhere",
    async (decider) => {
      const once = await outcome(job(decider));
      expect(await outcome(job(decider))).toEqual(once);
      expect(once.done + once.killed + once.unplaced).toBe(400);
      expect(once.unplaced).toBe(0);
      expect(once.slowdown.mean).toBeGreaterThanOrEqual(1);
      expect((await outcome(job(decider, { seed: 2 }))).slowdown).not.toEqual(once.slowdown);
    },
  );

  it("keeps to no more tasks than there are slots, and begins the others when one ends", async () => {
    const workload = tasks(task(), task(), task());
    const { delayMs, done } = await outcome(job("resource", { workload, machines: [machine(64 * GB, 2)] }));
    expect(done).toBe(3);
    expect(delayMs.p50).toBeLessThan(1_000);
    expect(delayMs.p99).toBeGreaterThan(550_000);
  });

  it("places no task where it does not fit, and says so", async () => {
    const workload = tasks(task(), task({ askedBytes: 40 * GB }));
    expect(await outcome(job("resource", { workload, machines: [machine(16 * GB)] }))).toMatchObject({
      done: 1,
      unplaced: 1,
    });
  });

  it("kills what uses more memory than the machine has", async () => {
    const workload = tasks(task({ askedBytes: GB, usedBytes: 20 * GB }), task());
    expect(await outcome(job("resource", { workload, machines: [machine(16 * GB)] }))).toMatchObject({
      done: 1,
      killed: 1,
      killedPerThousand: 500,
    });
  });

  it("slows down what shares too few cores, by just so much", async () => {
    const workload = tasks(task({ usedCpus: 8 }), task({ usedCpus: 8 }));
    const { slowdown } = await outcome(job("resource", { workload, machines: [machine(16 * GB)] }));
    expect(slowdown.mean).toBeCloseTo(2, 3);
  });

  it("has hosts refuse by what is true when the scheduler knows only what is old", async () => {
    const old = await outcome(job("round-robin", { heartbeatMs: 60_000, burst: 60 }));
    expect(old.refused).toBeGreaterThan(0);
    expect(old.done + old.killed).toBe(400);
  });

  it("is served best by a decider that knows everything", async () => {
    const of = async (decider: DeciderName) =>
      Promise.all([1, 2, 3].map((seed) => outcome(job(decider, { seed, burst: 30 }))));
    const omniscient = await of("omniscient");
    for (const policy of PlacementPolicy.options)
      expect(rowOf(policy, await of(policy), omniscient).timesOmniscient, policy).toBeGreaterThan(0.99);
  });

  it("is refused in words when more tasks wait than it can go through", async () => {
    const workload = tasks(...Array.from({ length: 100_002 }, () => task()));
    expect(await runJob(job("resource", { workload, machines: [machine(16 * GB)] }))).toMatchObject({
      ok: false,
      error: { message: expect.stringContaining("more than 100000 tasks wait at once") },
    });
  });
});

describe("made-up tasks", () => {
  const machines = drawMachines(1, 50);
  const workload = drawWorkload({ seed: 1, tasks: 20_000, load: 0.8, burst: 60 }, machines);
  const sorted = (column: Float64Array) => column.toSorted();

  it("last as long, and ask for and use as much, as is said of them", () => {
    expect(quantile(sorted(workload.workMs), 0.5) / 60_000).toBeCloseTo(7, 0);
    expect(Math.max(...workload.workMs)).toBe(7_200_000);
    expect(Math.min(...workload.askedBytes)).toBe(0.5 * GB);
    expect(Math.max(...workload.askedBytes)).toBe(4 * GB);
    const overusing = workload.usedBytes.filter((used, index) => used > (workload.askedBytes[index] ?? 0));
    expect(overusing.length / 20_000).toBeCloseTo(0.15, 2);
  });

  it("arrive in bursts, and ask for as much as the load says of what owners leave", () => {
    expect(new Set(workload.arrivalMs).size).toBe(Math.ceil(20_000 / 60));
    const spanMs = workload.arrivalMs.at(-1) ?? 0;
    const asked = workload.askedBytes.reduce(
      (sum, bytes, index) => sum + bytes * (workload.workMs[index] ?? 0),
      0,
    );
    const left = machines.reduce((sum, one) => sum + one.memoryBytes * (1 - one.owner.memoryShare), 0);
    expect(asked / spanMs / left).toBeGreaterThan(0.75);
    expect(asked / spanMs / left).toBeLessThan(0.85);
  });

  it("run on machines of the sizes that somebody wrote", () => {
    const made = machinesOf(
      [
        { count: 2, memoryBytes: 16 * GB, cores: null },
        { count: 1, memoryBytes: 64 * GB, cores: 24 },
      ],
      1,
    );
    expect(made.map(({ memoryBytes, cores, slots }) => [memoryBytes / GB, cores, slots])).toEqual([
      [16, 8, 8],
      [16, 8, 8],
      [64, 24, 32],
    ]);
  });
});

describe("the measures", () => {
  it("are right on known numbers", () => {
    expect(jain([1, 1, 1, 1])).toBe(1);
    expect(jain([1, 0, 0, 0])).toBe(0.25);
    expect(jain([])).toBe(1);
    expect(quantile([1, 2, 3, 4, 5], 0.5)).toBe(3);
    expect(quantile([0, 10], 0.95)).toBeCloseTo(9.5);
    expect(quantile([], 0.5)).toBe(0);
    expect(variation([2, 4, 4, 4, 5, 5, 7, 9])).toBeCloseTo(0.4);
    expect(variation([0, 0])).toBe(0);
  });

  it("keep Jain's index between 1/n and 1", () => {
    fc.assert(
      fc.property(fc.array(fc.double({ min: 0.001, max: 1e6, noNaN: true }), { minLength: 1 }), (values) => {
        const index = jain(values);
        return index <= 1 + 1e-9 && index >= 1 / values.length - 1e-9;
      }),
    );
  });
});

describe("a mesh's history", () => {
  it("is its ended tasks, each as long as its last attempt, with what it asked for", () => {
    const history = new History();
    const log = new FoldedLog((folded) => history.apply(folded));
    log.apply(fact(1, "requested", { resources: { memoryBytes: 2 * GB, cpus: 2 } }));
    log.apply(fact(10, "started", { after: 1 }));
    log.apply(fact(12, "faulted", { after: 10 }));
    log.apply(fact(13, "requeued", { after: 12 }));
    log.apply(fact(20, "started", { after: 13, attempt: 2 }));
    log.apply(fact(50, "succeeded", { after: 20, attempt: 2 }));
    log.apply({ ...fact(60, "requested"), taskId: "t2" });
    const { workMs, askedBytes, askedCpus, repositories } = history.workload();
    expect([...workMs]).toEqual([30_000]);
    expect([...askedBytes]).toEqual([2 * GB]);
    expect([...askedCpus]).toEqual([2]);
    expect(repositories).toEqual(["acme/shop"]);
  });
});

describe("the chart", { timeout: 60_000 }, () => {
  it("is one picture with a line for each policy, in which a title is text", async () => {
    const { line, delayQuantilesMs } = await outcome(job("resource"));
    const charted = ["omniscient", "resource"].map((name) => ({ name, line, delayQuantilesMs }));
    const svg = svgChart("tasks of <script>.csv", charted);
    expect(svg.match(/<polyline/g)).toHaveLength(4);
    expect(svg).toContain("&lt;script&gt;");
    expect(svg).not.toMatch(/NaN|Infinity|<script|href=/);
  });
});
