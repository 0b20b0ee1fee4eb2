// Keeps the queue and the hosts' reservations in step with the log: what each fact makes of them. Pure; the clock is
// an argument.
import { constraintsOf } from "../../shared/contracts/constraint.ts";
import {
  budgetOf,
  type DeployRequest,
  Priority,
  REQUEST_DEFAULTS,
  runnerOf,
} from "../../shared/contracts/deploy-request.ts";
import type { FailureCategory } from "../../shared/contracts/failure.ts";
import { wantedSecrets } from "../../shared/contracts/secret.ts";
import { TaskType } from "../../shared/contracts/task-type.ts";
import { add, nothing } from "../../shared/lifecycle/amount.ts";
import type { FoldedFact } from "../../shared/lifecycle/folded-log.ts";
import { usedIn } from "../../shared/lifecycle/spending.ts";
import { isEnd } from "../../shared/lifecycle/table.ts";
import { cacheKey as cacheKeyOf, objectFormat } from "../../shared/repository/cache-key.ts";
import { Budgets } from "./budgets.ts";
import { type CountedMemory, expectedMemory, isExpected, memoryAfter } from "./expectation.ts";
import type { Fleet } from "./fleet.ts";
import { Footprints } from "./footprints.ts";
import type { Queue } from "./queue.ts";
import { countFor, QueueEntry, shared } from "./queue-entry.ts";

/** Requests kept in memory for the tasks at the head; the others are read from the log. */
export const REQUESTS_KEPT = 1_000;

export class QueueIndex {
  readonly #queue: Queue;
  readonly #fleet: Fleet;
  readonly #requests = new Map<string, DeployRequest>();
  readonly footprints = new Footprints();
  readonly budgets = new Budgets();
  /** Of the attempts under way, by the broker's clock. */
  readonly #startedAtMs = new Map<string, number>();
  /** Entries of tasks that run or wait, in case they come back. */
  readonly #parked = new Map<string, QueueEntry>();
  readonly #learns: () => boolean;
  /** What was so when all that is queued was counted last. */
  #learned = true;
  #largestBytes: number | null = null;

  /** `learns`: what attempts needed is to be used for the next. */
  constructor(queue: Queue, fleet: Fleet, learns: () => boolean) {
    this.#queue = queue;
    this.#fleet = fleet;
    this.#learns = learns;
  }

  /** Counts the queued tasks' memory anew if what bounds it has changed; called every now and then. */
  recount(nowMs: number, silenceMs: number): void {
    const learns = this.#learns();
    const largestBytes = this.#fleet.largestBytes(nowMs, silenceMs);
    if (learns === this.#learned && largestBytes === this.#largestBytes) return;
    this.#learned = learns;
    this.#largestBytes = largestBytes;
    this.#queue.recount(null, this.#expected);
  }

  /** The request of a queued task, if it is at hand. */
  request(taskId: string): DeployRequest | undefined {
    return this.#requests.get(taskId);
  }

  /** Of a task that has not ended; else empty. */
  repository(taskId: string): string {
    return this.#entry(taskId)?.repository ?? "";
  }

  /** `nowMs` is on the scheduler's monotonic clock. */
  apply(folded: FoldedFact, nowMs: number): void {
    const { fact, before, after } = folded;
    const { taskId } = fact;
    const { repository = null, runner = null } = this.#entry(taskId) ?? {};
    this.budgets.apply(folded, { repository, runner });
    const failed = hostBlamed(folded);
    const parked = failed === null ? undefined : this.#parked.get(taskId);
    if (failed !== null && parked !== undefined)
      parked.failedAtMs = new Map(parked.failedAtMs).set(failed, fact.timeMs);
    if (isPreempted(fact)) this.#preempted(taskId);
    if (after.state === "queued") {
      if (fact.kind === "requested" && fact.body !== null && before.state !== "queued") {
        const entry = newEntry(taskId, fact.sequence, Priority.parse(fact.speaker), fact.body);
        if (isExpected(entry)) countFor([entry], this.#expected(entry));
        this.#queue.add(entry);
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
        this.#fleet.reserve(after.hostId, taskId, entry.reservation(nowMs, fact.timeMs));
    }
    if (fact.kind === "started" && after.active) this.#startedAtMs.set(taskId, fact.timeMs);
    if (before.active && !after.active) this.#ended(folded);
    if (isEnd(after.state)) this.#parked.delete(taskId);
  }

  #entry(taskId: string): QueueEntry | undefined {
    return this.#queue.get(taskId) ?? this.#parked.get(taskId);
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
    const parked = this.#parked.get(taskId);
    const used = fact.body === null ? null : usedIn(fact);
    if (parked !== undefined && used !== null)
      parked.spent = add({ ...(parked.spent ?? nothing()) }, used, 1);
    const work = workOf(fact);
    // What was called off, or lost, tells nothing of its like.
    if (parked === undefined || startedAtMs === undefined || work === null) return;
    this.footprints.add(parked, {
      durationMs: fact.timeMs - startedAtMs,
      memoryBytes: work.result?.peakMemoryBytes,
      costUsd: work.result?.agent?.usage?.costUsd ?? undefined,
    });
    this.#queue.recount(parked.repository, this.#expected);
    if (work.category === "resource" && this.#learns())
      this.#parked.set(taskId, parked.again(memoryAfter(parked, work.result, this.#bounds(parked))));
  }

  readonly #expected = (entry: QueueEntry): CountedMemory =>
    expectedMemory(this.#learns() ? this.footprints.usual(entry) : null, this.#bounds(entry));

  #bounds({ memoryLimitBytes }: QueueEntry) {
    return {
      limitBytes: memoryLimitBytes ?? REQUEST_DEFAULTS.memoryLimitBytes,
      largestBytes: this.#largestBytes,
    };
  }

  #requeue(taskId: string): void {
    const entry = this.#parked.get(taskId);
    this.#parked.delete(taskId);
    if (entry === undefined) return;
    this.#queue.add(entry.again(isExpected(entry) ? this.#expected(entry) : entry));
  }
}

const isPreempted = (fact: FoldedFact["fact"]): boolean =>
  fact.body !== null &&
  fact.kind === "faulted" &&
  "failure" in fact.body &&
  fact.body.failure.category === "preempted";

/** The work itself came to an end, if a bad one. */
const OWN_ENDS = new Set<FailureCategory>(["agent", "gate", "timeout", "resource", "budget"]);

/** What an attempt that came to an end of its own tells of its like; null if it tells nothing. */
function workOf(fact: FoldedFact["fact"]) {
  if (fact.body === null) return null;
  if (fact.kind === "succeeded" && "result" in fact.body) return { category: null, result: fact.body.result };
  if (fact.kind !== "faulted" || !("failure" in fact.body)) return null;
  const { failure, result } = fact.body;
  return OWN_ENDS.has(failure.category) ? { category: failure.category, result } : null;
}

/** Says nothing of the host: the attempt was called off, or its provider takes nothing now. */
const NOBODYS_FAULT = new Set<FailureCategory>(["preempted", "cancelled", "quota"]);

/** The host on which an attempt has just failed or was lost; null if nothing failed. */
function hostBlamed({ fact, before, after }: FoldedFact): string | null {
  if (!before.active || after.active || fact.body === null || !("failure" in fact.body)) return null;
  const { failure } = fact.body;
  return failure === undefined || NOBODYS_FAULT.has(failure.category) ? null : before.hostId;
}

/** Remembered for so many repositories: queued tasks share them, and their strings. */
const NAMES_REMEMBERED = 10_000;
const names = new Map<string, Pick<QueueEntry, "repository" | "cacheKey">>();

function namesOf({ repository, cloneUrl, sha }: DeployRequest): Pick<QueueEntry, "repository" | "cacheKey"> {
  const whole = `${objectFormat(sha)} ${repository} ${cloneUrl}`;
  const known = names.get(whole);
  if (known !== undefined) return known;
  if (names.size >= NAMES_REMEMBERED) names.clear();
  const named = { repository, cacheKey: cacheKeyOf(cloneUrl, sha) };
  names.set(whole, named);
  return named;
}

function newEntry(taskId: string, sequence: number, priority: Priority, request: DeployRequest): QueueEntry {
  const asked = request.resources?.memoryBytes;
  const { repository, cacheKey } = namesOf(request);
  const demand = shared({
    priority,
    repository,
    // One string for all tasks of a type.
    type: TaskType.enum[request.type],
    cacheKey,
    runner: runnerOf(request),
    constraints: constraintsOf(request),
    secrets: wantedSecrets(request),
    fork: request.fork === true,
    timeoutMs: request.timeoutMs ?? REQUEST_DEFAULTS.timeoutMs,
    budget: budgetOf(request),
    memoryBytes: asked ?? REQUEST_DEFAULTS.memoryBytes,
    memorySource: asked === undefined ? "default" : "request",
    memoryLimitBytes: request.limits?.memoryBytes ?? null,
    cpus: request.resources?.cpus ?? REQUEST_DEFAULTS.cpus,
  });
  return new QueueEntry(taskId, sequence, demand);
}
