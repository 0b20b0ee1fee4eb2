// A queued task as the index holds it. What many tasks ask for alike is one object that they share: of a hundred thousand
// tasks each costs little more than its id.
import type { Allowance } from "../../shared/contracts/budget.ts";
import type { Constraint } from "../../shared/contracts/constraint.ts";
import type { Priority, RunnerName } from "../../shared/contracts/deploy-request.ts";
import type { WantedSecrets } from "../../shared/contracts/secret.ts";
import type { Amount } from "../../shared/lifecycle/amount.ts";
import type { CountedMemory, MemorySource } from "./expectation.ts";
import type { Work } from "./footprints.ts";

export interface Footprint {
  memoryBytes: number;
  cpus: number;
}

/** What a task asks for, and whose it is. */
export interface Demand extends Footprint, Work {
  priority: Priority;
  memorySource: MemorySource;
  /** What it may never exceed; null for the default. */
  memoryLimitBytes: number | null;
  /** Names its repository's clone in the caches of hosts. */
  cacheKey: string;
  constraints: readonly Constraint[] | null;
  secrets: WantedSecrets | null;
  fork: boolean;
  timeoutMs: number;
  /** What its request lets its agents use in all attempts; null if it says nothing of that. */
  budget: Allowance | null;
}

interface Asked {
  hostId: string;
}

export class QueueEntry implements Readonly<Demand> {
  readonly taskId: string;
  /** Sequence of its request on the log: the order inside a repository. */
  readonly sequence: number;
  demand: Demand;
  /** What the guard of its next `started` must name. */
  after: number;
  /** Number of its next attempt. */
  attempt = 1;
  /** How often an attempt of it was stopped to make room. */
  preempted = 0;
  /** What its attempts have used, as far as they told; null if there is nothing. */
  spent: Amount | null = null;
  /** When an attempt of it last failed on each host, by the broker's clock, ms; null if none has. */
  failedAtMs: ReadonlyMap<string, number> | null = null;
  /** A host is being asked, or has just begun and the log has not shown it yet. */
  asked: Asked | null = null;
  /** Offered to no host before this time, ms: an order that was given is not given again, or the log is awaited. */
  notBeforeMs = 0;
  /** Its place in line was used already by an order that came to nothing: it is not charged for the next. */
  charged = false;
  removed = false;

  constructor(taskId: string, sequence: number, demand: Demand) {
    this.taskId = taskId;
    this.sequence = sequence;
    this.after = sequence;
    this.demand = demand;
  }

  get priority(): Priority {
    return this.demand.priority;
  }
  get repository(): string {
    return this.demand.repository;
  }
  get type(): string {
    return this.demand.type;
  }
  get runner(): RunnerName | null {
    return this.demand.runner;
  }
  get cacheKey(): string {
    return this.demand.cacheKey;
  }
  get constraints(): readonly Constraint[] | null {
    return this.demand.constraints;
  }
  get secrets(): WantedSecrets | null {
    return this.demand.secrets;
  }
  get fork(): boolean {
    return this.demand.fork;
  }
  get timeoutMs(): number {
    return this.demand.timeoutMs;
  }
  get budget(): Allowance | null {
    return this.demand.budget;
  }
  get memoryBytes(): number {
    return this.demand.memoryBytes;
  }
  get memorySource(): MemorySource {
    return this.demand.memorySource;
  }
  get memoryLimitBytes(): number | null {
    return this.demand.memoryLimitBytes;
  }
  get cpus(): number {
    return this.demand.cpus;
  }

  /** The task once more, as it comes back into the queue. */
  again(counted: CountedMemory = this): QueueEntry {
    const { memoryBytes, memorySource } = counted;
    const demand = shared({ ...this.demand, memoryBytes, memorySource });
    const entry = new QueueEntry(this.taskId, this.sequence, demand);
    entry.after = this.after;
    entry.attempt = this.attempt;
    entry.preempted = this.preempted;
    entry.spent = this.spent;
    entry.failedAtMs = this.failedAtMs;
    return entry;
  }

  /** As it counts on a host. */
  reservation(sinceMs: number, startedAtMs: number) {
    const { repository, type, runner, priority, memoryBytes, cpus, timeoutMs } = this.demand;
    const { attempt, preempted } = this;
    return {
      repository,
      type,
      runner,
      priority,
      memoryBytes,
      cpus,
      timeoutMs,
      attempt,
      preempted,
      sinceMs,
      startedAtMs,
    };
  }
}

/** So much memory is counted for all of them from now on. */
export function countFor(entries: Iterable<QueueEntry>, { memoryBytes, memorySource }: CountedMemory): void {
  const counted = new Map<Demand, Demand>();
  for (const entry of entries) {
    const demand = counted.get(entry.demand) ?? shared({ ...entry.demand, memoryBytes, memorySource });
    counted.set(entry.demand, demand);
    entry.demand = demand;
  }
}

/** Remembered for so many different ones. */
const DEMANDS_REMEMBERED = 10_000;
const demands = new Map<string, Demand>();

/** The one object for all that ask for this. */
export function shared(demand: Demand): Demand {
  const { priority, repository, type, runner, cacheKey, constraints, fork, timeoutMs, cpus } = demand;
  const { memoryBytes, memorySource, memoryLimitBytes, budget, secrets } = demand;
  const key = `${priority} ${repository} ${type} ${runner} ${cacheKey} ${fork} ${timeoutMs} ${cpus} ${memoryBytes} ${memorySource} ${memoryLimitBytes} ${budget?.usd} ${budget?.tokens} ${constraints === null ? "" : JSON.stringify(constraints)} ${secrets === null ? "" : JSON.stringify(secrets)}`;
  const known = demands.get(key);
  if (known !== undefined) return known;
  if (demands.size >= DEMANDS_REMEMBERED) demands.clear();
  demands.set(key, demand);
  return demand;
}
