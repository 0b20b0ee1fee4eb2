// Several runs of one policy as one, and beside the omniscient decider's. Pure.
import { type Outcome, quantile } from "./measures.ts";

export interface Row {
  decider: string;
  runs: number;
  tasks: number;
  done: number;
  killed: number;
  unplaced: number;
  /** Mean of (end − arrival) / work, and how many times the omniscient's it is. */
  slowdown: number;
  timesOmniscient: number;
  delayMs: { mean: number; p50: number; p95: number; p99: number };
  killedPerThousand: number;
  refused: number;
  imbalance: number;
  jain: number;
}

/** Means over the runs; sums of what is counted. */
export function rowOf(decider: string, runs: Outcome[], omniscient: Outcome[]): Row {
  const mean = (of: (one: Outcome) => number) => runs.reduce((sum, one) => sum + of(one), 0) / runs.length;
  const sum = (of: (one: Outcome) => number) => runs.reduce((total, one) => total + of(one), 0);
  const slowdown = mean((one) => one.slowdown.mean);
  const theirs = omniscient.reduce((total, one) => total + one.slowdown.mean, 0) / omniscient.length;
  const killed = sum((one) => one.killed);
  return {
    decider,
    runs: runs.length,
    tasks: sum((one) => one.tasks),
    done: sum((one) => one.done),
    killed,
    unplaced: sum((one) => one.unplaced),
    slowdown,
    timesOmniscient: slowdown / theirs,
    delayMs: {
      mean: mean((one) => one.delayMs.mean),
      p50: mean((one) => one.delayMs.p50),
      p95: mean((one) => one.delayMs.p95),
      p99: mean((one) => one.delayMs.p99),
    },
    killedPerThousand: (1_000 * killed) / Math.max(1, killed + sum((one) => one.done)),
    refused: mean((one) => one.refused),
    imbalance: mean((one) => one.imbalance),
    jain: mean((one) => one.jain),
  };
}

/** Delays of all runs together, at 0, 1, … 100 per cent. */
export function delayQuantiles(runs: Outcome[]): number[] {
  const all = Float64Array.from(runs.flatMap((one) => one.delayQuantilesMs)).sort();
  return Array.from({ length: 101 }, (_, hundredth) => quantile(all, hundredth / 100));
}
