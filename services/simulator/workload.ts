// The tasks of a simulated run, in the order of their arrival, as columns of numbers that threads can share; and tasks
// drawn by chance. Times in ms, memory in bytes. Pure.
import {
  type DeployRequest,
  REQUEST_DEFAULTS,
  type RunnerName,
} from "../../shared/contracts/deploy-request.ts";
import { type Chance, chance } from "./chance.ts";
import { type Machine, meanCapacity } from "./machines.ts";

/** What requests have in common, but for what they ask for. */
export interface Kind extends Pick<DeployRequest, "repository" | "type"> {
  runner: RunnerName | null;
  /** What such a task may never exceed; null for the default. */
  memoryLimitBytes: number | null;
  /** If not, the scheduler counts what it expects. */
  namesMemory: boolean;
}

export const kindOf = (repository: string, rest: Partial<Kind> = {}): Kind => ({
  repository,
  type: "pr_deployment",
  runner: null,
  memoryLimitBytes: null,
  namesMemory: true,
  ...rest,
});

export interface Workload {
  arrivalMs: Float64Array;
  /** How long it takes on a machine that has a core for it whenever it wants one. */
  workMs: Float64Array;
  /** What its request asks for, or would if it named memory. */
  askedBytes: Float64Array;
  /** What it uses once it has been running for the memory ramp. */
  usedBytes: Float64Array;
  askedCpus: Float64Array;
  /** Cores it keeps busy. */
  usedCpus: Float64Array;
  /** A place in `kinds`. */
  kind: Float64Array;
  kinds: Kind[];
}

export interface TaskRow {
  arrivalMs: number;
  workMs: number;
  askedBytes: number;
  usedBytes: number;
  askedCpus: number;
  usedCpus: number;
  kind: number;
}

/** Columns of the rows, by arrival; the first arrives at 0. */
export function workloadOf(rows: TaskRow[], kinds: Kind[]): Workload {
  rows.sort((one, other) => one.arrivalMs - other.arrivalMs);
  const firstMs = rows[0]?.arrivalMs ?? 0;
  const column = (of: (row: TaskRow) => number) => {
    const values = new Float64Array(
      new SharedArrayBuffer(rows.length * Float64Array.BYTES_PER_ELEMENT),
    ) as Float64Array;
    rows.forEach((row, index) => {
      values[index] = of(row);
    });
    return values;
  };
  return {
    arrivalMs: column((row) => row.arrivalMs - firstMs),
    workMs: column((row) => row.workMs),
    askedBytes: column((row) => row.askedBytes),
    usedBytes: column((row) => row.usedBytes),
    askedCpus: column((row) => row.askedCpus),
    usedCpus: column((row) => row.usedCpus),
    kind: column((row) => row.kind),
    kinds,
  };
}

export interface Drawn {
  seed: number;
  tasks: number;
  /** Share of the machines' scarcest resource that the tasks ask for on average. */
  load: number;
  /** So many arrive in one instant. */
  burst: number;
  /**
   * Share of the tasks that name no memory. All tasks of a repository then ask for, or would, what is typical of it, so
   * that there is something to be learned. Null: all name it, whatever their repository.
   */
  unnamed: number | null;
}

/** What is drawn. */
const SYNTHETIC = {
  medianMs: 7 * 60_000,
  capMs: 2 * 3_600_000,
  leastMs: 1_000,
  sigma: 1.2,
  askStepBytes: 500_000_000,
  askSteps: 8,
  /** Of the tasks, so many use more than they asked for: up to `overuse` times as much. */
  overusing: 0.15,
  overuse: 1.5,
  leastUse: 0.5,
  cpus: { low: 0.25, high: 1.25 },
  repositories: 10,
} as const;

export function drawWorkload({ seed, tasks, load, burst, unnamed }: Drawn, machines: Machine[]): Workload {
  const drawn = chance(seed, "tasks");
  const kinds = Array.from({ length: SYNTHETIC.repositories }, (_, index) => kindOf(`sim/r${index + 1}`));
  const rows = Array.from({ length: tasks }, () => drawTask(drawn));
  if (unnamed !== null) {
    makeTypical(rows, chance(seed, "repositories"));
    omitMemory(rows, unnamed, chance(seed, "omissions"));
    kinds.push(...kinds.map((kind) => ({ ...kind, namesMemory: false })));
  }
  const spanMs = spanOf(rows, load, machines);
  const times = chance(seed, "arrivals");
  let arrivalMs = 0;
  rows.forEach((row, index) => {
    if (index % burst === 0) arrivalMs = times.next() * spanMs;
    row.arrivalMs = arrivalMs;
  });
  return workloadOf(rows, kinds);
}

/** Each asks for what is typical of its repository, and uses the same share of that as before. */
function makeTypical(rows: TaskRow[], drawn: Chance): void {
  const typicalBytes = Array.from({ length: SYNTHETIC.repositories }, () => drawAsk(drawn));
  for (const row of rows) {
    const share = row.usedBytes / row.askedBytes;
    row.askedBytes = typicalBytes[row.kind] as number;
    row.usedBytes = share * row.askedBytes;
  }
}

/** So many are of the kind that does not name it. */
function omitMemory(rows: TaskRow[], share: number, drawn: Chance): void {
  for (const row of rows) if (drawn.next() < share) row.kind += SYNTHETIC.repositories;
}

const drawAsk = (drawn: Chance): number =>
  SYNTHETIC.askStepBytes * (1 + Math.floor(drawn.next() * SYNTHETIC.askSteps));

function drawTask(drawn: Chance): TaskRow {
  const { medianMs, capMs, leastMs, sigma, cpus } = SYNTHETIC;
  const askedBytes = drawAsk(drawn);
  const share =
    drawn.next() < SYNTHETIC.overusing
      ? drawn.between(1, SYNTHETIC.overuse)
      : drawn.between(SYNTHETIC.leastUse, 1);
  return {
    arrivalMs: 0,
    workMs: Math.max(leastMs, Math.min(capMs, medianMs * Math.exp(sigma * normal(drawn)))),
    askedBytes,
    usedBytes: askedBytes * share,
    askedCpus: REQUEST_DEFAULTS.cpus,
    usedCpus: drawn.between(cpus.low, cpus.high),
    // A few repositories have most of the tasks.
    kind: Math.floor(drawn.next() ** 2 * SYNTHETIC.repositories),
  };
}

/** Over what time these tasks have to arrive for this load. */
function spanOf(rows: TaskRow[], load: number, machines: Machine[]): number {
  const capacity = meanCapacity(machines);
  let [bytes, cpus, slots] = [0, 0, 0];
  for (const { workMs, askedBytes, usedCpus } of rows) {
    bytes += workMs * askedBytes;
    cpus += workMs * usedCpus;
    slots += workMs;
  }
  return Math.max(bytes / capacity.memoryBytes, cpus / capacity.cpus, slots / capacity.slots) / load;
}

/** Box and Muller's way to a normal distribution. */
const normal = (drawn: Chance): number =>
  Math.sqrt(-2 * Math.log(1 - drawn.next())) * Math.cos(2 * Math.PI * drawn.next());
