// What an attempt needs, and which of its limits it has met. Where no control group holds it to its memory, it is this
// that sees when it has more: by looking at its processes, as often as a small share of a core allows.
import type { Cgroup } from "./cgroup.ts";
import type { Limits } from "./cgroup-limits.ts";
import { memoryOf } from "./process-memory.ts";

type Counted = Pick<Cgroup, "memory" | "forksRefused">;
type LimitMet = "out-of-memory" | "too-many-processes";

const MEASURE_MS = 250;
/** Of a core: how much there is to read is not ours to choose. */
const LOOKING_SHARE = 0.01;

export class LimitWatch {
  readonly #cgroup: Counted;
  readonly #limitBytes: number;
  readonly #pids: () => number[];
  #dueMs = Number.NEGATIVE_INFINITY;
  /** Both 0 before the first look. */
  #neededBytes = 0;
  #mostBytes = 0;
  #hasTooMuch = false;
  /** So often its limit of processes had been met when the last command began. */
  #forksRefused = 0;

  constructor(cgroup: Counted, { memoryBytes }: Limits, pids: () => number[]) {
    this.#cgroup = cgroup;
    this.#limitBytes = memoryBytes ?? Number.POSITIVE_INFINITY;
    this.#pids = pids;
  }

  /** A command begins: what was met before is not its doing. Gives what `ranOutSince` asks for. */
  begin(): { kills: number } {
    this.#hasTooMuch = false;
    this.#forksRefused = this.#cgroup.forksRefused();
    return { kills: this.#kills() };
  }

  /** Called often; measures when it is time to. */
  look(nowMs: number): void {
    if (nowMs < this.#dueMs) return;
    const counted = this.#cgroup.memory();
    const before = process.cpuUsage();
    const neededBytes = counted?.neededBytes ?? memoryOf(this.#pids(), this.#limitBytes);
    const { user, system } = process.cpuUsage(before);
    this.#dueMs = nowMs + Math.max(MEASURE_MS, (user + system) / 1_000 / LOOKING_SHARE);
    this.#neededBytes = neededBytes;
    this.#mostBytes = Math.max(this.#mostBytes, neededBytes);
    this.#hasTooMuch = counted === null && neededBytes > this.#limitBytes;
  }

  /** As it was measured last; 0 where nobody can tell. */
  neededBytes(): number {
    return this.#neededBytes;
  }

  /** A limit that it has met, where meeting it ends nothing by itself. */
  exceeded(): LimitMet | null {
    if (this.#hasTooMuch) return "out-of-memory";
    return this.#cgroup.forksRefused() > this.#forksRefused ? "too-many-processes" : null;
  }

  /** The kernel has killed for want of memory since the command began. */
  ranOutSince({ kills }: { kills: number }): boolean {
    return this.#kills() > kills;
  }

  /**
   * Bytes; 0 where nobody can tell. What a control group was charged at most has file cache in it, which grows up to
   * any limit: it tells only of a limit that was met.
   */
  peakBytes(ranOut: boolean): number {
    const { peakBytes } = this.#cgroup.memory() ?? { peakBytes: this.#mostBytes };
    return ranOut || this.#mostBytes === 0 ? peakBytes : this.#mostBytes;
  }

  #kills(): number {
    return this.#cgroup.memory()?.kills ?? 0;
  }
}
