// One pass over the queue, fair: the priorities by their shares, in each the repositories in turn, in each the oldest
// task. A task that nobody can take now is passed by those that ask for something else, and keeps its turn.
import { PRIORITIES, type Priority } from "../../shared/contracts/deploy-request.ts";
import { type Lane, type Line, type Queue, SHARES } from "./queue.ts";
import type { QueueEntry } from "./queue-entry.ts";

export interface RoundRules {
  nowMs: number;
  /** Something of the repository may be placed now. Asked anew for each task. */
  admits(repository: string): boolean;
  /** Every budget has enough left for the task. The same. */
  affords(task: QueueEntry): boolean;
  /** It was not offered, because not even less memory than it asks for is free anywhere; one of those that ask for the same. */
  passed(entry: QueueEntry): void;
}

interface Progress {
  lines: Iterator<Line>;
  /** Whose turn it is. */
  line: Line | null;
}

export class Round {
  readonly #queue: Queue;
  readonly #rules: RoundRules;
  readonly #progress = new Map<Priority, Progress>();
  readonly #done = new Set<Priority>();
  /** Of each kind, the least memory that no host can give now, and whether a host lacked just that. */
  readonly #closed = new Map<string, { bytes: number; forMemory: boolean }>();
  /** What was refused, or passed. */
  readonly #shapes = new Set<string>();
  /** Entries of each lane that have been offered. */
  readonly #offered = new Map<Lane, number>();
  /** The lane and the turn of the task that was offered last. */
  #lane: Lane | null = null;
  #turn: Progress | null = null;

  constructor(queue: Queue, rules: RoundRules) {
    this.#queue = queue;
    this.#rules = rules;
  }

  /** The next task to find a host for; null when none is left that may be placed. */
  next(): QueueEntry | null {
    for (let priority = this.#due(); priority !== null; priority = this.#due()) {
      const entry = this.#nextOf(priority);
      if (entry !== null) return entry;
      this.#done.add(priority);
    }
    return null;
  }

  /** A host is asked to take the task that was offered last, in a turn of `share` tasks. */
  take(entry: QueueEntry, share: number): void {
    // The line is at the end of the ring then, where it is met again.
    if (this.#queue.charge(entry, share) && this.#turn !== null) this.#turn.line = null;
  }

  /** No host can take the task that was offered last, nor any that asks for the same or for more memory. */
  refuse({ memoryBytes }: QueueEntry, forMemory: boolean): void {
    if (this.#lane === null) return;
    this.#closed.set(this.#lane.kind, { bytes: memoryBytes, forMemory });
    this.#shapes.add(this.#lane.shape);
  }

  /** The one whose next task would leave it having spent the least. */
  #due(): Priority | null {
    let due: Priority | null = null;
    let least = Number.POSITIVE_INFINITY;
    for (const priority of PRIORITIES) {
      const then = this.#queue.levels[priority].spent + 1 / SHARES[priority];
      if (then < least && !this.#done.has(priority)) [due, least] = [priority, then];
    }
    return due;
  }

  #nextOf(priority: Priority): QueueEntry | null {
    const { ring } = this.#queue.levels[priority];
    const progress = this.#progress.get(priority) ?? { lines: ring.values(), line: null };
    this.#progress.set(priority, progress);
    this.#turn = progress;
    for (;;) {
      progress.line ??= progress.lines.next().value ?? null;
      if (progress.line === null) return null;
      const entry = this.#rules.admits(progress.line.repository) ? this.#oldest(progress.line) : null;
      if (entry !== null) return entry;
      progress.line = null;
    }
  }

  /** Of the tasks that may be offered. */
  #oldest(line: Line): QueueEntry | null {
    let from: Lane | null = null;
    let oldest: QueueEntry | null = null;
    for (const lane of line.lanes.values()) {
      const head = this.#head(lane);
      if (head === null) continue;
      const closed = this.#closed.get(lane.kind);
      if (closed !== undefined && head.memoryBytes >= closed.bytes) {
        if (closed.forMemory && !this.#shapes.has(lane.shape)) {
          this.#shapes.add(lane.shape);
          this.#rules.passed(head);
        }
        continue;
      }
      if (oldest !== null && head.sequence > oldest.sequence) continue;
      if (this.#rules.affords(head)) [from, oldest] = [lane, head];
    }
    if (from === null) return null;
    this.#lane = from;
    this.#offered.set(from, (this.#offered.get(from) ?? 0) + 1);
    return oldest;
  }

  #head(lane: Lane): QueueEntry | null {
    const begun = this.#offered.get(lane) ?? 0;
    let index = begun;
    let entry = lane.entries[index];
    while (entry !== undefined && this.#passes(entry)) entry = lane.entries[++index];
    if (index > begun) this.#offered.set(lane, index);
    return entry ?? null;
  }

  /** Those after it in its lane ask for no less, but may have more left than one that has used some of its own budget. */
  #passes(entry: QueueEntry): boolean {
    if (entry.removed || this.#rules.nowMs < entry.notBeforeMs) return true;
    return entry.spent !== null && !this.#rules.affords(entry);
  }
}
