// The queue: an index over the log of the tasks whose fold is `queued`, in the order they are to be placed.
// It holds what placement needs; the requests themselves stay on the log.
import type { Constraint } from "../../shared/contracts/constraint.ts";
import { PRIORITIES, type Priority } from "../../shared/contracts/task.ts";

export interface Footprint {
  memoryBytes: number;
  cpus: number;
}

interface Asked {
  hostId: string;
}

export interface QueueEntry extends Footprint {
  taskId: string;
  priority: Priority;
  /** Sequence of its request on the log: the order inside a priority. */
  sequence: number;
  /** What the guard of its next `started` must name. */
  after: number;
  /** Number of its next attempt. */
  attempt: number;
  repository: string;
  constraints: readonly Constraint[] | null;
  fork: boolean;
  /** When an attempt of it last failed on each host, by the broker's clock, ms; null if none has. */
  failedAtMs: ReadonlyMap<string, number> | null;
  /** A host is being asked, or has just begun and the log has not shown it yet. */
  asked: Asked | null;
  /** Offered to no host before this time, ms: an order that was given is not given again, or the log is awaited. */
  notBeforeMs: number;
  removed: boolean;
}

export class Queue {
  readonly #entries = new Map<string, QueueEntry>();
  readonly #lanes: Record<Priority, QueueEntry[]> = { high: [], normal: [], low: [] };
  /** Entries of each lane that were removed and still lie there. */
  readonly #removed: Record<Priority, number> = { high: 0, normal: 0, low: 0 };

  get size(): number {
    return this.#entries.size;
  }

  /** Entries in memory, those that were removed and still lie there included. */
  get held(): number {
    return PRIORITIES.reduce((sum, priority) => sum + this.#lanes[priority].length, 0);
  }

  get(taskId: string): QueueEntry | undefined {
    return this.#entries.get(taskId);
  }

  add(entry: QueueEntry): void {
    this.remove(entry.taskId);
    this.#entries.set(entry.taskId, entry);
    const lane = this.#lanes[entry.priority];
    const last = lane.at(-1);
    // A task that is tried again keeps its place.
    if (last !== undefined && last.sequence > entry.sequence)
      lane.splice(insertionPoint(lane, entry.sequence), 0, entry);
    else lane.push(entry);
  }

  remove(taskId: string): void {
    const entry = this.#entries.get(taskId);
    if (entry === undefined) return;
    entry.removed = true;
    this.#removed[entry.priority]++;
    this.#entries.delete(taskId);
  }

  /** In the order of placement: by priority, then by age. Entries may be removed meanwhile. */
  *[Symbol.iterator](): Generator<QueueEntry> {
    for (const priority of PRIORITIES) {
      const lane = this.#tidy(priority);
      for (const entry of lane) if (!entry.removed) yield entry;
    }
  }

  /** Drops the removed ones once they are half of the lane: each is copied past twice at most. */
  #tidy(priority: Priority): QueueEntry[] {
    const lane = this.#lanes[priority];
    if (this.#removed[priority] * 2 <= lane.length) return lane;
    this.#removed[priority] = 0;
    return (this.#lanes[priority] = lane.filter((entry) => !entry.removed));
  }
}

function insertionPoint(lane: QueueEntry[], sequence: number): number {
  let low = 0;
  let high = lane.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((lane[middle]?.sequence ?? 0) < sequence) low = middle + 1;
    else high = middle;
  }
  return low;
}
