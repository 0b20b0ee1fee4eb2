// What attempts of each repository, task type and runner took lately: time, memory and money. It is what a task is
// expected to take whose request does not say. Pure.

import type { RunnerName } from "../../shared/contracts/deploy-request.ts";
import type { Usual } from "../../shared/contracts/outlook.ts";

/** What is learned from, and for: an agent's work on a repository says little of a command's. */
export interface Work {
  repository: string;
  type: string;
  /** What the host must have to run it; null for checks alone. */
  runner: RunnerName | null;
}

interface Sample {
  /** From the attempt's start to its end, by the broker's clock. */
  durationMs: number;
  /** Undefined where its host cannot measure it. */
  memoryBytes: number | undefined;
  /** Undefined where no agent ran. */
  costUsd: number | undefined;
}

interface Known {
  durationsMs: readonly number[];
  memoryBytes: readonly number[];
  costsUsd: readonly number[];
  usual: Usual;
}

/** Attempts of each work that are remembered. */
export const ATTEMPTS_REMEMBERED = 50;
/** Repositories, types and runners together; the one whose attempts ended longest ago is forgotten. */
export const WORK_REMEMBERED = 2_000;

export class Footprints {
  readonly #known = new Map<string, Known>();

  add(work: Work, sample: Sample): void {
    const key = keyOf(work);
    const before = this.#known.get(key);
    const durationsMs = latest(before?.durationsMs, sample.durationMs);
    const memoryBytes = latest(before?.memoryBytes, sample.memoryBytes);
    const costsUsd = latest(before?.costsUsd, sample.costUsd);
    const usual: Usual = {
      durationMs: quantiles(durationsMs),
      memoryBytes: memoryBytes.length === 0 ? null : quantiles(memoryBytes),
      costUsd: costsUsd.length === 0 ? null : quantiles(costsUsd),
    };
    this.#known.delete(key);
    this.#known.set(key, { durationsMs, memoryBytes, costsUsd, usual });
    const [oldest] = this.#known.keys();
    if (this.#known.size > WORK_REMEMBERED && oldest !== undefined) this.#known.delete(oldest);
  }

  /** Null if nothing is known. */
  usual(work: Work): Usual | null {
    return this.#known.get(keyOf(work))?.usual ?? null;
  }
}

const keyOf = ({ repository, type, runner }: Work): string => `${type} ${runner} ${repository}`;

const latest = (before: readonly number[] = [], value: number | undefined): readonly number[] =>
  value === undefined ? before : [...before, value].slice(-ATTEMPTS_REMEMBERED);

/** By the nearest rank: each is one of the values, and the share that it names needed no more. */
function quantiles(values: readonly number[]): Usual["durationMs"] {
  const sorted = values.toSorted((one, other) => one - other);
  const at = (share: number) => sorted[Math.ceil(share * sorted.length) - 1] ?? 0;
  return { attempts: sorted.length, p50: at(0.5), p95: at(0.95) };
}
