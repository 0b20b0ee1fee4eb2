// `mesh simulate`: the scheduler's own core on machines and tasks that are not there.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { chance } from "../../services/simulator/chance.ts";
import { svgChart } from "../../services/simulator/chart.ts";
import { type DeciderName, type Job, runJob } from "../../services/simulator/compare.ts";
import { History } from "../../services/simulator/history.ts";
import { drawMachines, machinesOf } from "../../services/simulator/machines.ts";
import { jain, quantile, variation } from "../../services/simulator/measures.ts";
import { SimulatedHost } from "../../services/simulator/simulated-host.ts";
import { rowOf } from "../../services/simulator/verdict.ts";
import { drawWorkload, kindOf, type TaskRow, workloadOf } from "../../services/simulator/workload.ts";
import { DEFAULT_SETTINGS, PlacementPolicy } from "../../shared/config/settings.ts";
import { type DeployRequest, REQUEST_DEFAULTS } from "../../shared/contracts/deploy-request.ts";
import { FoldedLog } from "../../shared/lifecycle/folded-log.ts";
import { fact } from "../support/facts.ts";

const GB = 1e9;

function job(decider: DeciderName, overrides: Partial<Job> & { tasks?: number; burst?: number } = {}): Job {
  const { tasks = 400, burst = 1, seed = 1, ...rest } = overrides;
  const machines = rest.machines ?? drawMachines(seed, 8);
  const workload = drawWorkload({ seed, tasks, load: 0.8, burst, unnamed: null }, machines);
  return {
    decider,
    learn: true,
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
  kind: 0,
  ...overrides,
});
/** Nobody sits at it. */
const machine = (memoryBytes: number, slots = 4) => ({
  memoryBytes,
  cores: 8,
  slots,
  owner: { memoryShare: 0, cpuShare: 0 },
});
const tasks = (...rows: TaskRow[]) => workloadOf(rows, [kindOf("acme/shop")]);

/** Five teach that 3 GB are needed; then four come at once. None names its memory. */
const needing = (arrivalMs: number) => task({ arrivalMs, askedBytes: GB / 2, usedBytes: 3 * GB });
const teachers = Array.from({ length: 5 }, (_, number) => needing(number * 700_000));
const learners = Array.from({ length: 4 }, () => needing(5 * 700_000));
const unnamed = workloadOf([...teachers, ...learners], [kindOf("acme/shop", { namesMemory: false })]);

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

  it("counts tasks that name no memory with what their like needed, as the mesh does, if that is to be learned", async () => {
    const of = (learn: boolean) =>
      outcome(job("resource", { workload: unnamed, machines: [machine(10 * GB, 8)], learn }));
    const learned = await of(true);
    expect(learned).toMatchObject({ done: 9, killed: 0 });
    expect(learned.delayMs.p99).toBeGreaterThan(550_000);
    const not = await of(false);
    expect(not).toMatchObject({ done: 8, killed: 1 });
    expect(not.delayMs.p99).toBeLessThan(1_000);
  });

  it("counts what is learned with no more than half of the largest machine, so that it runs somewhere", async () => {
    const machines = [machine(3.1 * GB)];
    expect(await outcome(job("resource", { workload: unnamed, machines }))).toMatchObject({ done: 9 });
  });

  it("has an attempt tell the memory that it came to use before it ended", () => {
    const about = { machine: machine(16 * GB), runners: [], heartbeatMs: 1_000, drawn: chance(1, "owner") };
    const host = new SimulatedHost("h1", about);
    const counted = { memoryBytes: GB, cpus: 1 };
    for (const number of [1, 2])
      host.begin({ task: number, counted, usedBytes: 3 * GB, usedCpus: 1 }, 600_000, 0);
    expect(host.end(1, 15_000)).toBe(GB);
    expect(host.end(1, 15_000)).toBeNull();
    expect(host.end(2, 600_000)).toBe(3 * GB);
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
  const drawn = { seed: 1, tasks: 20_000, load: 0.8, burst: 60 };
  const workload = drawWorkload({ ...drawn, unnamed: null }, machines);
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

  it("ask for what is typical of their repository where some name no memory, and are the same however many do", () => {
    const { kind: _, ...named } = drawWorkload({ ...drawn, unnamed: 0 }, machines);
    const { kind, ...some } = drawWorkload({ ...drawn, unnamed: 0.3 }, machines);
    expect(some.askedBytes).toEqual(named.askedBytes);
    expect(some.usedBytes).toEqual(named.usedBytes);
    expect(some.arrivalMs).toEqual(named.arrivalMs);
    const kinds = Array.from(kind, (place) => some.kinds[place]);
    expect(kinds.filter((one) => one?.namesMemory === false).length / drawn.tasks).toBeCloseTo(0.3, 2);
    const typical = new Set(kinds.map((one, index) => `${one?.repository} ${some.askedBytes[index]}`));
    expect(typical.size).toBe(10);
    const used = some.usedBytes.reduce((sum, bytes) => sum + bytes, 0);
    expect(used / some.askedBytes.reduce((sum, bytes) => sum + bytes, 0)).toBeCloseTo(0.825, 2);
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
  const RESULT = { exitCode: 0, durationMs: 1, phases: {}, checks: [], artifacts: [] };

  it("is its ended tasks, each as long as its last attempt, with what it asked for where what that used was not measured", () => {
    const history = new History();
    const log = new FoldedLog((folded) => history.apply(folded));
    log.apply(fact(1, "requested", { resources: { memoryBytes: 2 * GB, cpus: 2 } }));
    log.apply(fact(10, "started", { after: 1 }));
    log.apply(fact(12, "faulted", { after: 10, result: { ...RESULT, peakMemoryBytes: 3 * GB } }));
    log.apply(fact(13, "requeued", { after: 12 }));
    log.apply(fact(20, "started", { after: 13, attempt: 2 }));
    log.apply(fact(50, "succeeded", { after: 20, attempt: 2 }));
    log.apply({ ...fact(60, "requested"), taskId: "t2" });
    const { workMs, askedBytes, usedBytes, askedCpus, kinds } = history.workload();
    expect([...workMs]).toEqual([30_000]);
    expect([...askedBytes]).toEqual([2 * GB]);
    expect([...usedBytes]).toEqual([2 * GB]);
    expect([...askedCpus]).toEqual([2]);
    expect(kinds[0]).toEqual(kindOf("acme/shop"));
  });

  it("has tasks use what they needed at their peak, and name memory, and be told apart, as they were", async () => {
    const history = new History();
    const log = new FoldedLog((folded) => history.apply(folded));
    const ran = (taskId: string, at: number, asks: Partial<DeployRequest>, peakMemoryBytes?: number) => {
      log.apply({ ...fact(at, "requested", asks), taskId });
      log.apply({ ...fact(at + 1, "started", { after: at }), taskId });
      const result = { ...RESULT, ...(peakMemoryBytes === undefined ? {} : { peakMemoryBytes }) };
      log.apply({ ...fact(at + 61, "succeeded", { after: at + 1, result }), taskId });
    };
    const limits = { memoryBytes: 8 * GB };
    const resources = { memoryBytes: GB };
    ran("t1", 100, { limits, prompt: "mend it" }, 5 * GB);
    ran("t2", 200, { resources }, GB / 4);
    ran("t3", 300, { resources });
    ran("t4", 400, { limits, prompt: "mend it too" });
    const workload = history.workload();
    expect([...workload.usedBytes]).toEqual([5 * GB, GB / 4, GB, REQUEST_DEFAULTS.memoryBytes]);
    expect([...workload.kind]).toEqual([0, 1, 1, 0]);
    expect(workload.kinds).toEqual([
      kindOf("acme/shop", { runner: "claude-code", memoryLimitBytes: 8 * GB, namesMemory: false }),
      kindOf("acme/shop"),
    ]);
    const again = await outcome(job("resource", { workload, machines: [machine(16 * GB)] }));
    expect(again).toMatchObject({ done: 4, unplaced: 0 });
  });
});

describe("the chart", { timeout: 60_000 }, () => {
  it("is one picture with a line for each policy, told apart however many they are, in which a title is text", async () => {
    const { line, delayQuantilesMs } = await outcome(job("resource"));
    const charted = ["omniscient", "resource"].map((name) => ({ name, line, delayQuantilesMs }));
    const svg = svgChart("tasks of <script>.csv", charted);
    expect(svg.match(/<polyline/g)).toHaveLength(4);
    expect(svg).toContain("&lt;script&gt;");
    const many = Array.from({ length: 11 }, (_, number) => ({ name: `n${number}`, line, delayQuantilesMs }));
    const strokes = svgChart("many", many).match(/<line [^>]*stroke-width[^>]*>/g) ?? [];
    expect(new Set(strokes.map((one) => one.replace(/ [xy][12]="[^"]*"/g, ""))).size).toBe(11);
    expect(svg).not.toMatch(/NaN|Infinity|<script|href=/);
  });
});
