// What a simulated run comes to: when each task began and ended, and how full the machines were meanwhile.
import type { SimulatedHost } from "./simulated-host.ts";
import type { Kind, Workload } from "./workload.ts";

/** A task shorter than this counts as this long where its slowdown is taken, as is usual with job schedulers, ms. */
const BOUND_MS = 10_000;
/** Points of the line of utilisation over time, at most. */
const POINTS = 400;

export interface Point {
  atMs: number;
  /** Share of the machines' memory that running tasks use. */
  used: number;
}

export class Tally {
  /** Tasks that have ended, however. */
  over = 0;
  killed = 0;
  asks = 0;
  refusals = 0;
  closedAtMs = 0;
  readonly #workload: Workload;
  readonly #beganMs: Float64Array;
  readonly #endedMs: Float64Array;
  /** Memory that tasks use on each host, and its integral over time. */
  readonly #held = new Map<SimulatedHost, { bytes: number; byteMs: number; sinceMs: number }>();
  readonly #line: Line;

  constructor(workload: Workload, hosts: SimulatedHost[]) {
    this.#workload = workload;
    const { length } = workload.arrivalMs;
    this.#beganMs = new Float64Array(length).fill(Number.NaN);
    this.#endedMs = new Float64Array(length).fill(Number.NaN);
    for (const host of hosts) this.#held.set(host, { bytes: 0, byteMs: 0, sinceMs: 0 });
    const totalBytes = hosts.reduce((sum, { machine }) => sum + machine.memoryBytes, 0);
    this.#line = new Line(totalBytes, ((workload.arrivalMs[length - 1] ?? 0) + 1) / (POINTS / 2));
  }

  asked(refused: boolean): void {
    this.asks++;
    if (refused) this.refusals++;
  }

  began(task: number, host: SimulatedHost, nowMs: number): void {
    this.#beganMs[task] = nowMs;
    this.#hold(host, this.#workload.usedBytes[task] as number, nowMs);
  }

  ended(task: number, host: SimulatedHost, how: "done" | "killed", nowMs: number): void {
    this.over++;
    if (how === "killed") this.killed++;
    else this.#endedMs[task] = nowMs;
    this.#hold(host, -(this.#workload.usedBytes[task] as number), nowMs);
  }

  close(nowMs: number): void {
    this.closedAtMs = nowMs;
    for (const host of this.#held.keys()) this.#hold(host, 0, nowMs);
  }

  #hold(host: SimulatedHost, bytes: number, nowMs: number): void {
    const held = this.#held.get(host);
    if (held === undefined) return;
    held.byteMs += held.bytes * (nowMs - held.sinceMs);
    held.sinceMs = nowMs;
    held.bytes += bytes;
    this.#line.add(bytes, nowMs);
  }

  /** Of the tasks that were done: how many times longer than its work each took, from its arrival on. */
  slowdowns(): { slowdown: number; repository: string }[] {
    const { arrivalMs, workMs, kind, kinds } = this.#workload;
    const all: { slowdown: number; repository: string }[] = [];
    this.#endedMs.forEach((endedMs, task) => {
      if (Number.isNaN(endedMs)) return;
      const tookMs = endedMs - (arrivalMs[task] as number);
      const slowdown = Math.max(1, tookMs / Math.max(BOUND_MS, workMs[task] as number));
      all.push({ slowdown, repository: (kinds[kind[task] as number] as Kind).repository });
    });
    return all;
  }

  /** How long each task that began had waited, ascending, ms. */
  delaysMs(): Float64Array {
    const { arrivalMs } = this.#workload;
    const began = this.#beganMs.map((beganMs, task) => beganMs - (arrivalMs[task] as number));
    return began.filter((delayMs) => !Number.isNaN(delayMs)).sort();
  }

  /** Of each host, the share of its memory that tasks used, on average over the run. */
  utilisation(): number[] {
    const spanMs = Math.max(1, this.closedAtMs);
    return [...this.#held].map(([{ machine }, { byteMs }]) => byteMs / spanMs / machine.memoryBytes);
  }

  line(): Point[] {
    return this.#line.points(this.closedAtMs);
  }
}

/** Utilisation of all hosts together, averaged over steps of time; the steps double when there are too many. */
class Line {
  readonly #totalBytes: number;
  #stepMs: number;
  #bytes = 0;
  #sinceMs = 0;
  #byteMs: number[] = [0];

  constructor(totalBytes: number, stepMs: number) {
    this.#totalBytes = totalBytes;
    this.#stepMs = Math.max(1, stepMs);
  }

  add(bytes: number, nowMs: number): void {
    while (this.#sinceMs < nowMs) {
      const last = this.#byteMs.length - 1;
      const untilMs = Math.min(nowMs, (last + 1) * this.#stepMs);
      this.#byteMs[last] = (this.#byteMs[last] as number) + this.#bytes * (untilMs - this.#sinceMs);
      this.#sinceMs = untilMs;
      if (untilMs >= (last + 1) * this.#stepMs) this.#byteMs.push(0);
      if (this.#byteMs.length > POINTS) this.#halve();
    }
    this.#bytes += bytes;
  }

  #halve(): void {
    const halves = this.#byteMs;
    this.#stepMs *= 2;
    this.#byteMs = Array.from(
      { length: Math.ceil(halves.length / 2) },
      (_, index) => (halves[2 * index] ?? 0) + (halves[2 * index + 1] ?? 0),
    );
  }

  points(endMs: number): Point[] {
    return this.#byteMs.flatMap((byteMs, index) => {
      const beganMs = index * this.#stepMs;
      const lengthMs = Math.min(this.#stepMs, endMs - beganMs);
      if (lengthMs <= 0) return [];
      return [{ atMs: beganMs + lengthMs / 2, used: byteMs / lengthMs / this.#totalBytes }];
    });
  }
}
