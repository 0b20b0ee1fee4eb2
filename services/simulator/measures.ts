// The numbers that a run is judged by. Pure.
import type { Point, Tally } from "./tally.ts";

interface Measures {
  tasks: number;
  done: number;
  /** Killed because their machine had less memory than was used. */
  killed: number;
  /** Begun nowhere: they fit on no machine. */
  unplaced: number;
  slowdown: { mean: number; p50: number; p95: number; p99: number };
  delayMs: { mean: number; p50: number; p95: number; p99: number };
  killedPerThousand: number;
  /** Share of the hosts' answers. */
  refused: number;
  /** Coefficient of variation of the hosts' use of memory. */
  imbalance: number;
  /** Jain's index of the repositories' mean slowdowns: 1 if all are alike. */
  jain: number;
  spanMs: number;
}

export interface Outcome extends Measures {
  /** Utilisation over time. */
  line: Point[];
  /** Delays at 0, 1, … 100 per cent, ms. */
  delayQuantilesMs: number[];
}

export function outcomeOf(tally: Tally, tasks: number): Outcome {
  const each = tally.slowdowns();
  const slowdowns = Float64Array.from(each, ({ slowdown }) => slowdown).sort();
  const delays = tally.delaysMs();
  return {
    tasks,
    done: slowdowns.length,
    killed: tally.killed,
    unplaced: tasks - tally.over,
    slowdown: summaryOf(slowdowns),
    delayMs: summaryOf(delays),
    killedPerThousand: (1_000 * tally.killed) / Math.max(1, tally.over),
    refused: tally.asks === 0 ? 0 : tally.refusals / tally.asks,
    imbalance: variation(tally.utilisation()),
    jain: jain(meansBy(each)),
    spanMs: tally.closedAtMs,
    line: tally.line(),
    delayQuantilesMs: Array.from({ length: 101 }, (_, hundredth) => quantile(delays, hundredth / 100)),
  };
}

/** Of ascending values; between two of them in a straight line. 0 if there are none. */
export function quantile(ascending: ArrayLike<number>, share: number): number {
  const at = share * (ascending.length - 1);
  const below = ascending[Math.floor(at)] ?? 0;
  const above = ascending[Math.ceil(at)] ?? 0;
  return below + (above - below) * (at - Math.floor(at));
}

/** (Σx)² / (n · Σx²): 1 if all are alike, 1/n if one has everything (Jain, Chiu, Hawe 1984). 1 if there are none. */
export function jain(values: readonly number[]): number {
  let [sum, squares] = [0, 0];
  for (const value of values) {
    sum += value;
    squares += value * value;
  }
  return squares === 0 ? 1 : (sum * sum) / (values.length * squares);
}

/** Standard deviation over mean. 0 if there is nothing. */
export function variation(values: readonly number[]): number {
  const mean = meanOf(values);
  if (mean === 0) return 0;
  return Math.sqrt(meanOf(values.map((value) => (value - mean) ** 2))) / mean;
}

const summaryOf = (ascending: Float64Array) => ({
  mean: meanOf(ascending),
  p50: quantile(ascending, 0.5),
  p95: quantile(ascending, 0.95),
  p99: quantile(ascending, 0.99),
});

function meanOf(values: ArrayLike<number>): number {
  let sum = 0;
  for (let index = 0; index < values.length; index++) sum += values[index] as number;
  return values.length === 0 ? 0 : sum / values.length;
}

function meansBy(each: { slowdown: number; repository: string }[]): number[] {
  const sums = new Map<string, { sum: number; count: number }>();
  for (const { slowdown, repository } of each) {
    const so = sums.get(repository) ?? { sum: 0, count: 0 };
    sums.set(repository, { sum: so.sum + slowdown, count: so.count + 1 });
  }
  return [...sums.values()].map(({ sum, count }) => sum / count);
}
