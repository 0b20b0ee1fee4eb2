// The queue: an index over the log of the tasks whose fold is `queued`. It holds what placement needs; the requests
// themselves stay on the log. Its order is fair: see `round.ts`.
import { PRIORITIES, type Priority } from "../../shared/contracts/deploy-request.ts";
import { type CountedMemory, isExpected } from "./expectation.ts";
import { countFor, type QueueEntry } from "./queue-entry.ts";

/** Tasks of one repository and priority that ask for the same, so find the same refusals: in the order of the log. */
export interface Lane {
  shape: string;
  /** What they ask for, but for memory. */
  readonly kind: string;
  entries: QueueEntry[];
  /** Of them, those that were removed and still lie there. */
  removed: number;
}

/** A repository's tasks of one priority. */
export interface Line {
  readonly repository: string;
  readonly lanes: Map<string, Lane>;
  size: number;
  /** Tasks that it may still place in the turn that it has begun; 0 before it has. */
  turns: number;
}

/** One priority: the repositories that have tasks, the one whose turn it is first. */
export interface Level {
  readonly ring: Map<string, Line>;
  size: number;
  /** What it has placed, each counted as one over the priority's share. */
  spent: number;
}

/** Of so many tasks placed together while each priority has some, this many are of each. */
export const SHARES: Record<Priority, number> = { high: 16, normal: 4, low: 1 };

export class Queue {
  readonly #entries = new Map<string, QueueEntry>();
  /** The greatest that any level has spent: what it begins with that had nothing to place. */
  #clock = 0;
  readonly levels: Record<Priority, Level> = { high: newLevel(), normal: newLevel(), low: newLevel() };

  get size(): number {
    return this.#entries.size;
  }

  /** Entries in memory, those that were removed and still lie there included. */
  get held(): number {
    let held = 0;
    for (const priority of PRIORITIES)
      for (const line of this.levels[priority].ring.values())
        for (const lane of line.lanes.values()) held += lane.entries.length;
    return held;
  }

  get(taskId: string): QueueEntry | undefined {
    return this.#entries.get(taskId);
  }

  add(entry: QueueEntry): void {
    this.remove(entry.taskId);
    this.#entries.set(entry.taskId, entry);
    const level = this.levels[entry.priority];
    // Who comes back has saved up nothing meanwhile.
    if (level.size++ === 0) level.spent = Math.max(level.spent, this.#clock);
    const line = level.ring.get(entry.repository) ?? newLine(entry.repository);
    level.ring.set(entry.repository, line);
    line.size++;
    const shape = shapeOf(entry);
    const lane = line.lanes.get(shape) ?? { shape, kind: kindOf(entry), entries: [], removed: 0 };
    line.lanes.set(shape, lane);
    const last = lane.entries.at(-1);
    // A task that is tried again keeps its place.
    if (last !== undefined && last.sequence > entry.sequence)
      lane.entries.splice(insertionPoint(lane.entries, entry.sequence), 0, entry);
    else lane.entries.push(entry);
  }

  remove(taskId: string): void {
    const entry = this.#entries.get(taskId);
    if (entry === undefined) return;
    entry.removed = true;
    this.#entries.delete(taskId);
    const level = this.levels[entry.priority];
    level.size--;
    const line = level.ring.get(entry.repository);
    if (line === undefined) return;
    if (--line.size === 0) level.ring.delete(entry.repository);
    else tidy(line, shapeOf(entry));
  }

  /** What is counted for tasks that ask for no memory has changed, of one repository or, for null, of all. */
  recount(repository: string | null, count: (entry: QueueEntry) => CountedMemory): void {
    for (const priority of PRIORITIES) {
      const { ring } = this.levels[priority];
      const lines = repository === null ? ring.values() : [ring.get(repository)];
      for (const line of lines)
        if (line !== undefined) for (const lane of [...line.lanes.values()]) recountLane(line, lane, count);
    }
  }

  /** The lanes of urgent tasks, those first whose repository's turn it is; some entries may have been removed. */
  *urgent(): Generator<readonly QueueEntry[]> {
    for (const line of this.levels.high.ring.values())
      for (const { entries } of line.lanes.values()) yield entries;
  }

  /** By priority, repository and age; entries may be removed meanwhile. Not the order of placement. */
  *[Symbol.iterator](): Generator<QueueEntry> {
    for (const priority of PRIORITIES)
      for (const line of this.levels[priority].ring.values())
        for (const lane of line.lanes.values())
          for (const entry of lane.entries) if (!entry.removed) yield entry;
  }

  /** Its place in line is used; true if that was the last of its repository's turn, which has `share` of them. */
  charge(entry: QueueEntry, share: number): boolean {
    if (entry.charged) return false;
    entry.charged = true;
    const level = this.levels[entry.priority];
    level.spent += 1 / SHARES[entry.priority];
    this.#clock = Math.max(this.#clock, level.spent);
    const line = level.ring.get(entry.repository);
    if (line === undefined) return false;
    line.turns = (line.turns > 0 ? Math.min(line.turns, share) : share) - 1;
    if (line.turns > 0) return false;
    level.ring.delete(entry.repository);
    level.ring.set(entry.repository, line);
    return true;
  }
}

const newLevel = (): Level => ({ ring: new Map(), size: 0, spent: 0 });
const newLine = (repository: string): Line => ({ repository, lanes: new Map(), size: 0, turns: 0 });

/** Where memory is expected and not asked for, whatever changes what is expected changes it for the whole lane. */
function shapeOf(entry: QueueEntry): string {
  const expected = isExpected(entry) ? ` ${entry.type} ${entry.memoryLimitBytes}` : "";
  const { budget } = entry;
  // What they may use decides whether the day's budget lets them begin.
  const allowed = budget === null ? "" : ` ${budget.usd} ${budget.tokens}`;
  return `${entry.memoryBytes}${expected}${allowed} ${kindOf(entry)}`;
}

const kindOf = ({ cpus, fork, runner, constraints, secrets }: QueueEntry): string =>
  `${cpus} ${fork} ${runner} ${constraints === null ? "" : JSON.stringify(constraints)} ${secrets === null ? "" : JSON.stringify(secrets)}`;

/** Drops the removed ones once they are half of the lane: each is copied past twice at most. */
function tidy(line: Line, shape: string): void {
  const lane = line.lanes.get(shape);
  if (lane === undefined || ++lane.removed * 2 <= lane.entries.length) return;
  lane.entries = lane.entries.filter((entry) => !entry.removed);
  lane.removed = 0;
  if (lane.entries.length === 0) line.lanes.delete(shape);
}

function recountLane(line: Line, lane: Lane, count: (entry: QueueEntry) => CountedMemory): void {
  const first = lane.entries.find(({ removed }) => !removed);
  if (first === undefined || !isExpected(first)) return;
  const counted = count(first);
  const { memoryBytes, memorySource } = counted;
  if (memoryBytes === first.memoryBytes && memorySource === first.memorySource) return;
  countFor(lane.entries, counted);
  line.lanes.delete(lane.shape);
  lane.shape = shapeOf(first);
  line.lanes.set(lane.shape, lane);
}

function insertionPoint(entries: QueueEntry[], sequence: number): number {
  let low = 0;
  let high = entries.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((entries[middle]?.sequence ?? 0) < sequence) low = middle + 1;
    else high = middle;
  }
  return low;
}
