// What will happen in a simulation, by its own clock: events in the order of their times, and of being planned where
// those are equal, so that a run can be had again.

interface Planned {
  atMs: number;
  order: number;
  work: () => void;
}

export class Agenda {
  nowMs = 0;
  #planned = 0;
  readonly #heap: Planned[] = [];

  at(atMs: number, work: () => void): void {
    const heap = this.#heap;
    const added = { atMs: Math.max(atMs, this.nowMs), order: this.#planned++, work };
    let at = heap.push(added) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = heap[parent] as Planned;
      if (!isBefore(added, above)) break;
      heap[at] = above;
      at = parent;
    }
    heap[at] = added;
  }

  /** Something else happens in this very moment. */
  get hasMoreNow(): boolean {
    return this.#heap[0]?.atMs === this.nowMs;
  }

  /** Moves the clock to the next event and has it happen; false if nothing is planned. */
  step(): boolean {
    const heap = this.#heap;
    const next = heap[0];
    const last = heap.pop();
    if (next === undefined || last === undefined) return false;
    if (heap.length > 0) this.#sink(last);
    this.nowMs = next.atMs;
    next.work();
    return true;
  }

  #sink(moved: Planned): void {
    const heap = this.#heap;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      const right = heap[child + 1];
      if (right !== undefined && isBefore(right, heap[child] as Planned)) child++;
      const below = heap[child];
      if (below === undefined || !isBefore(below, moved)) break;
      heap[at] = below;
      at = child;
    }
    heap[at] = moved;
  }
}

const isBefore = (one: Planned, other: Planned): boolean =>
  one.atMs < other.atMs || (one.atMs === other.atMs && one.order < other.order);
