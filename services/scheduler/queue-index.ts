// Keeps the queue and the hosts' reservations in step with the log: what each fact makes of them. Pure; the clock is
// an argument.
import { constraintsOf } from "../../shared/contracts/constraint.ts";
import type { FailureCategory } from "../../shared/contracts/failure.ts";
import { type DeployRequest, Priority, REQUEST_DEFAULTS, runnerOf } from "../../shared/contracts/task.ts";
import type { FoldedFact } from "../../shared/lifecycle/folded-log.ts";
import { isEnd } from "../../shared/lifecycle/table.ts";
import { cacheKey, objectFormat } from "../../shared/repository/cache-key.ts";
import { Durations } from "./durations.ts";
import type { Fleet } from "./fleet.ts";
import type { Queue, QueueEntry } from "./queue.ts";

/** Requests kept in memory for the tasks at the head; the others are read from the log. */
export const REQUESTS_KEPT = 1_000;

export class QueueIndex {
  readonly #queue: Queue;
  readonly #fleet: Fleet;
  readonly #requests = new Map<string, DeployRequest>();
  /** Entries of tasks that run or wait, in case they come back. */
  readonly durations = new Durations();
  /** Of the attempts under way, by the broker's clock. */
  readonly #startedAtMs = new Map<string, number>();
  readonly #parked = new Map<string, QueueEntry>();

  constructor(queue: Queue, fleet: Fleet) {
    this.#queue = queue;
    this.#fleet = fleet;
  }

  /** The request of a queued task, if it is at hand. */
  request(taskId: string): DeployRequest | undefined {
    return this.#requests.get(taskId);
  }

  /** Of a task that has not ended; else empty. */
  repository(taskId: string): string {
    return (this.#queue.get(taskId) ?? this.#parked.get(taskId))?.repository ?? "";
  }

  /** `nowMs` is on the scheduler's monotonic clock. */
  apply(folded: FoldedFact, nowMs: number): void {
    const { fact, before, after } = folded;
    const { taskId } = fact;
    const failed = hostBlamed(folded);
    const parked = failed === null ? undefined : this.#parked.get(taskId);
    if (failed !== null && parked !== undefined)
      parked.failedAtMs = new Map(parked.failedAtMs).set(failed, fact.timeMs);
    if (isPreempted(fact)) this.#preempted(taskId);
    if (after.state === "queued") {
      if (fact.kind === "requested" && fact.body !== null && before.state !== "queued") {
        this.#queue.add(newEntry(taskId, fact.sequence, Priority.parse(fact.speaker), fact.body));
        if (this.#requests.size < REQUESTS_KEPT) this.#requests.set(taskId, fact.body);
      } else if (before.state !== "queued") this.#requeue(taskId);
      const entry = this.#queue.get(taskId);
      if (entry !== undefined) {
        entry.after = after.lastSequence;
        entry.attempt = after.attempt + 1;
      }
    } else if (before.state === "queued") {
      const entry = this.#queue.get(taskId);
      this.#queue.remove(taskId);
      this.#requests.delete(taskId);
      if (entry !== undefined) this.#parked.set(taskId, entry);
      if (entry !== undefined && after.active && after.hostId !== null)
        this.#fleet.reserve(after.hostId, taskId, { ...entry, sinceMs: nowMs, startedAtMs: fact.timeMs });
    }
    if (fact.kind === "started" && after.active) this.#startedAtMs.set(taskId, fact.timeMs);
    if (before.active && !after.active) this.#ended(folded);
    if (isEnd(after.state)) this.#parked.delete(taskId);
  }

  #preempted(taskId: string): void {
    const parked = this.#parked.get(taskId);
    if (parked !== undefined) parked.preempted++;
  }

  #ended({ fact, before }: FoldedFact): void {
    const { taskId } = fact;
    if (before.hostId !== null) this.#fleet.release(before.hostId, taskId);
    const startedAtMs = this.#startedAtMs.get(taskId);
    this.#startedAtMs.delete(taskId);
    // What was called off, or lost, tells nothing of how long its like takes.
    if (startedAtMs !== undefined && (fact.kind === "succeeded" || isOfItself(fact)))
      this.durations.add(this.repository(taskId), fact.timeMs - startedAtMs);
  }

  #requeue(taskId: string): void {
    const entry = this.#parked.get(taskId);
    this.#parked.delete(taskId);
    if (entry !== undefined)
      this.#queue.add({ ...entry, asked: null, notBeforeMs: 0, charged: false, removed: false });
  }
}

const isPreempted = (fact: FoldedFact["fact"]): boolean =>
  fact.body !== null &&
  fact.kind === "faulted" &&
  "failure" in fact.body &&
  fact.body.failure.category === "preempted";

/** The attempt came to its own end, if a bad one. */
const isOfItself = (fact: FoldedFact["fact"]): boolean =>
  fact.body !== null &&
  fact.kind === "faulted" &&
  "failure" in fact.body &&
  !NOBODYS_FAULT.has(fact.body.failure.category);

/** Says nothing of the host: the attempt was called off, or its provider takes nothing now. */
const NOBODYS_FAULT = new Set<FailureCategory>(["preempted", "cancelled", "quota"]);

/** The host on which an attempt has just failed or was lost; null if nothing failed. */
function hostBlamed({ fact, before, after }: FoldedFact): string | null {
  if (!before.active || after.active || fact.body === null || !("failure" in fact.body)) return null;
  const { failure } = fact.body;
  return failure === undefined || NOBODYS_FAULT.has(failure.category) ? null : before.hostId;
}

/** Remembered for so many repositories: queued tasks share them, and their strings. */
const KEYS_REMEMBERED = 10_000;
const keys = new Map<string, string>();

function keyOf({ cloneUrl, sha }: DeployRequest): string {
  const name = `${objectFormat(sha)} ${cloneUrl}`;
  const known = keys.get(name);
  if (known !== undefined) return known;
  if (keys.size >= KEYS_REMEMBERED) keys.clear();
  const key = cacheKey(cloneUrl, sha);
  keys.set(name, key);
  return key;
}

function newEntry(taskId: string, sequence: number, priority: Priority, request: DeployRequest): QueueEntry {
  return {
    taskId,
    priority,
    sequence,
    after: sequence,
    attempt: 1,
    repository: request.repository,
    cacheKey: keyOf(request),
    runner: runnerOf(request),
    constraints: constraintsOf(request),
    fork: request.fork === true,
    timeoutMs: request.timeoutMs ?? REQUEST_DEFAULTS.timeoutMs,
    memoryBytes: request.resources?.memoryBytes ?? REQUEST_DEFAULTS.memoryBytes,
    cpus: request.resources?.cpus ?? REQUEST_DEFAULTS.cpus,
    preempted: 0,
    failedAtMs: null,
    asked: null,
    notBeforeMs: 0,
    charged: false,
    removed: false,
  };
}
