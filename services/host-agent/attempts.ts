// The attempts of this host, from the order that asks for one until its end is on the log. It decides what is
// listed in heartbeats: all of them, from before `started` is sent.
import { randomUUID } from "node:crypto";
import type { Logger } from "pino";
import type { Failure } from "../../shared/contracts/failure.ts";
import type { HeldAttempt } from "../../shared/contracts/heartbeat.ts";
import type { RunOrder, RunReply, StopOrder, StopReply } from "../../shared/contracts/order.ts";
import { REQUEST_DEFAULTS } from "../../shared/contracts/task.ts";
import { type Capacity, refusalOf } from "./admission.ts";
import { type Executor, type Outcome, Stop } from "./executor.ts";
import type { Finished, FinishedStore } from "./finished.ts";
import type { Guest } from "./guest-keeper.ts";
import type { Claim, Voice } from "./voice.ts";

export interface AttemptsOptions {
  hostId: string;
  voice: Voice;
  guest: Guest;
  executor: Executor;
  finished: FinishedStore;
  log: Logger;
  capacity(): Capacity;
  /** Of the host's latest heartbeat. */
  moment(): { installation: string; boot: number; counter: number };
}

interface Held {
  claim: Claim;
  memoryBytes: number;
  cpus: number;
  sinceMs: number;
  stop: AbortController;
  /** What the log has decided on the order that began it. */
  begun: Promise<RunReply>;
  stretch: PromiseWithResolvers<string>;
  /** Its tree stands still, and nobody has been allowed yet to let it go on. */
  frozen: boolean;
  resuming: boolean;
  /** Its work is over, and takes no room any more; only its end is still to be said. */
  over: boolean;
}

/** An end that the log has not answered for so long is written to disk, ms. */
const KEEP_AFTER_MS = 250;
const RUN_REPLY_MS = 8_000;

export class Attempts {
  readonly #options: AttemptsOptions;
  readonly #held = new Map<string, Held>();
  readonly #closing = new AbortController();
  readonly #working = new Set<Promise<void>>();

  constructor(options: AttemptsOptions) {
    this.#options = options;
    options.guest.onFrozen((attemptKey) => void this.#resume(attemptKey));
    options.guest.onDied((reason) => {
      const failure: Failure = { category: "host", message: `the guest supervisor ended: ${reason}` };
      for (const held of this.#held.values()) held.stop.abort(new Stop(failure));
    });
  }

  /** For the heartbeat. */
  list(): HeldAttempt[] {
    return [...this.#held.values()].map(({ claim: { taskId, attempt, nonce } }) => ({
      taskId,
      attempt,
      nonce,
    }));
  }

  reserved(): { attempts: number; memoryBytes: number; cpus: number } {
    const sum = { attempts: 0, memoryBytes: 0, cpus: 0 };
    for (const { memoryBytes, cpus } of this.#atWork()) {
      sum.attempts++;
      sum.memoryBytes += memoryBytes;
      sum.cpus += cpus;
    }
    return sum;
  }

  #atWork(): Held[] {
    return [...this.#held.values()].filter(({ over }) => !over);
  }

  async run(order: RunOrder): Promise<RunReply> {
    const known = this.#held.get(order.taskId);
    if (known?.claim.attempt === order.attempt) return inTime(known.begun);
    if (known !== undefined)
      return {
        outcome: "refused",
        reason: "superseded",
        message: `attempt ${known.claim.attempt} is still here`,
      };
    const nowMs = performance.now();
    const admitted = this.#atWork().map((held) => ({
      memoryBytes: held.memoryBytes,
      ageMs: nowMs - held.sinceMs,
    }));
    const stretch = this.#options.guest.stretch();
    const refused = refusalOf(order, this.#options.capacity(), admitted);
    if (refused !== null) return refused;
    if (stretch === null)
      return { outcome: "refused", reason: "not-ready", message: "this host holds no lease" };
    return inTime(this.#hold(order, stretch).begun);
  }

  stop(order: StopOrder): StopReply {
    const held = this.#held.get(order.taskId);
    if (held?.claim.attempt !== order.attempt) return { outcome: "not-here" };
    held.stop.abort(new Stop({ category: order.reason, message: WHY_STOPPED[order.reason] }));
    return { outcome: "stopping" };
  }

  /** Says what a former life finished and could not say. */
  adopt({ taskId, attempt, nonce, after, fact }: Finished): void {
    const claim = { taskId, hostId: this.#options.hostId, attempt, nonce, after };
    this.#track(this.#conclude(this.#newHeld(claim, 0, 0), fact, true));
  }

  /** Ends what runs, says so as far as the bus lets it within the deadline, and accepts nothing more. */
  async close(failure: Failure, deadlineMs: number): Promise<void> {
    for (const held of this.#held.values()) held.stop.abort(new Stop(failure));
    const deadline = new Promise((done) => setTimeout(done, deadlineMs).unref());
    await Promise.race([Promise.allSettled(this.#working), deadline]);
    this.#closing.abort();
    await Promise.allSettled(this.#working);
  }

  #newHeld(claim: Claim, memoryBytes: number, cpus: number): Held {
    const stretch = Promise.withResolvers<string>();
    // Refused attempts reject it, whether anybody waits for it or not.
    stretch.promise.catch(() => {});
    const held: Held = {
      claim,
      memoryBytes,
      cpus,
      sinceMs: performance.now(),
      stop: new AbortController(),
      begun: Promise.resolve({ outcome: "refused", reason: "superseded", message: "it has ended" }),
      stretch,
      frozen: false,
      resuming: false,
      over: false,
    };
    this.#held.set(claim.taskId, held);
    return held;
  }

  #hold(order: RunOrder, stretch: string): Held {
    const { taskId, attempt, after, request } = order;
    const claim: Claim = { taskId, hostId: this.#options.hostId, attempt, nonce: randomUUID(), after };
    const held = this.#newHeld(
      claim,
      request.resources?.memoryBytes ?? REQUEST_DEFAULTS.memoryBytes,
      request.resources?.cpus ?? REQUEST_DEFAULTS.cpus,
    );
    held.begun = this.#begin(held, order, stretch);
    this.#track(this.#work(held, order));
    return held;
  }

  /** Puts `started` on the log: whoever's is stored may act. */
  async #begin(held: Held, order: RunOrder, stretch: string): Promise<RunReply> {
    const { voice, moment } = this.#options;
    const standing = await voice.begin(
      held.claim,
      "started",
      { ...moment(), ...(order.placement ? { placement: order.placement } : {}) },
      this.#closing.signal,
    );
    if (standing === "gone") {
      held.stop.abort(new Stop("dropped"));
      held.stretch.reject(new Stop("dropped"));
      return {
        outcome: "refused",
        reason: "superseded",
        message: "the log has moved on, or knows nothing of it",
      };
    }
    if (standing === "stopping")
      held.stop.abort(new Stop({ category: "cancelled", message: "the task was cancelled" }));
    held.stretch.resolve(stretch);
    return { outcome: "started", sequence: held.claim.after };
  }

  async #work(held: Held, order: RunOrder): Promise<void> {
    const { executor, log } = this.#options;
    const attemptKey = keyOf(held.claim);
    let outcome: Outcome;
    try {
      outcome = await executor({
        order,
        attemptKey,
        signal: held.stop.signal,
        async stretch() {
          const stretch = await held.stretch.promise;
          // It may have been told to stop while it waited.
          held.stop.signal.throwIfAborted();
          return stretch;
        },
      });
    } catch (error) {
      if (!(error instanceof Stop)) log.error({ error, attemptKey }, "an attempt met a bug");
      outcome = {
        ok: false,
        failure: { category: "internal", message: error instanceof Error ? error.message : String(error) },
      };
    }
    await this.#options.guest.release(attemptKey);
    // Nothing is said of an attempt before the log has decided whether it is one.
    await held.stretch.promise.catch(() => {});
    const stopped = held.stop.signal.aborted ? (held.stop.signal.reason as Stop).failure : null;
    if (stopped === "dropped") {
      this.#held.delete(held.claim.taskId);
      return;
    }
    if (outcome.ok && stopped === null) {
      await this.#conclude(held, { kind: "succeeded", body: { result: outcome.result } });
      return;
    }
    const failure = stopped ?? (outcome.ok ? INTERNAL : outcome.failure);
    const { result } = outcome;
    await this.#conclude(held, { kind: "faulted", body: { failure, ...(result ? { result } : {}) } });
  }

  async #conclude(held: Held, fact: Finished["fact"], onDisk = false): Promise<void> {
    const { voice, finished, log } = this.#options;
    const { taskId, attempt, nonce } = held.claim;
    held.over = true;
    let kept: Promise<void> | null = onDisk ? Promise.resolve() : null;
    const keep = () => {
      const { after } = held.claim;
      kept ??= finished
        .keep({ taskId, attempt, nonce, after, fact })
        .catch((error: unknown) =>
          log.error({ taskId, error }, "what was finished could not be kept on disk"),
        );
    };
    const timer = setTimeout(keep, KEEP_AFTER_MS);
    const settled = await voice.end(held.claim, fact, this.#closing.signal);
    clearTimeout(timer);
    if (settled === "given-up") keep();
    if (kept !== null) {
      await kept;
      if (settled !== "given-up") await finished.forget(held.claim);
    }
    this.#held.delete(taskId);
    log.info({ taskId, attempt, fact: fact.kind, settled }, fact.kind);
  }

  /** A tree was frozen for want of a lease: the log is asked whether the attempt may still act. */
  async #resume(attemptKey: string): Promise<void> {
    const held = [...this.#held.values()].find(({ claim }) => keyOf(claim) === attemptKey);
    if (held === undefined) return;
    held.frozen = true;
    if (held.resuming) return;
    held.resuming = true;
    const { guest, voice } = this.#options;
    try {
      // A first `started` under way decides first.
      await held.stretch.promise;
      // It may freeze again while it is being let go on.
      while (held.frozen && !held.stop.signal.aborted) {
        const stretch = await guest.nextStretch(held.stop.signal);
        if (stretch === null) return;
        const standing = await voice.begin(held.claim, "resumed", {}, held.stop.signal);
        if (standing === "gone") held.stop.abort(new Stop("dropped"));
        else if (standing === "stopping")
          held.stop.abort(new Stop({ category: "cancelled", message: "the task was cancelled" }));
        else {
          held.stretch = Promise.withResolvers<string>();
          held.stretch.resolve(stretch);
          held.frozen = false;
          if (!(await guest.thaw(attemptKey, stretch))) held.frozen = true;
        }
      }
    } catch {
      // Refused from the start: its work has ended already.
    } finally {
      held.resuming = false;
    }
  }

  #track(work: Promise<void>): void {
    this.#working.add(work);
    void work.finally(() => this.#working.delete(work));
  }
}

/** Whoever gave the order is answered in time; asking again, they are told what the log has decided meanwhile. */
async function inTime(begun: Promise<RunReply>): Promise<RunReply> {
  const patience = Promise.withResolvers<RunReply>();
  const unknown = { outcome: "refused", reason: "unknown", message: "the log has not answered yet" } as const;
  const timer = setTimeout(() => patience.resolve(unknown), RUN_REPLY_MS);
  return Promise.race([begun, patience.promise]).finally(() => clearTimeout(timer));
}

const WHY_STOPPED: Record<StopOrder["reason"], string> = {
  cancelled: "the task was cancelled",
  timeout: "the task took longer than it may",
  preempted: "the host is being drained",
};

const INTERNAL: Failure = { category: "internal", message: "the attempt ended without a reason" };

const keyOf = ({ taskId, attempt, nonce }: Claim): string => `${taskId}.${attempt}.${nonce}`;
