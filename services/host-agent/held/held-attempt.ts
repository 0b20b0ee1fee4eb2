// One attempt that this host holds: `started` on the log, the work, its end on the log; and, where its tree stood still
// for want of a lease, the question whether it may go on. It says nothing that the log has not agreed to.
import { randomUUID } from "node:crypto";
import type { Logger } from "pino";
import type { Failure } from "../../../shared/contracts/failure.ts";
import type { RunOrder, RunReply } from "../../../shared/contracts/order.ts";
import type { HeldInstance } from "../instances/instances.ts";
import type { Run } from "../runner/runner.ts";
import type { Guest } from "../supervisor/guest-keeper.ts";
import { type Executor, type Outcome, Stop } from "./executor.ts";
import { type Finished, type FinishedStore, inWords } from "./finished.ts";
import { CANCELLED, Leave } from "./leave.ts";
import type { Claim, Voice } from "./voice.ts";

export interface HeldAttemptPorts {
  voice: Voice;
  executor: Executor;
  finished: FinishedStore;
  log: Logger;
  /** Says on the attempt's own output that its end came too late to count. */
  tellOvertaken(claim: Claim, words: string): void;
  /** Of the host's latest heartbeat. */
  moment(): { installation: string; boot: number; counter: number };
  /** Aborted when this host speaks no more. */
  closing: AbortSignal;
}

/** An end that the log has not answered for so long is written to disk, ms. */
const KEEP_AFTER_MS = 250;
/** It takes seconds where WSL is well; the work that waits for it may have cost hours, ms. */
export const MOVE_MS = 600_000;

/** What is counted for an attempt while it is here, and what it may have of memory. */
export interface Room {
  memoryBytes: number;
  cpus: number;
  memoryLimitBytes: number;
}

export class HeldAttempt {
  readonly claim: Claim;
  readonly room: Room;
  readonly sinceMs = performance.now();
  /** What runs in it and may be spoken to. */
  run: Run | null = null;
  /** Its work is over, and takes no room any more; only its end is still to be said. */
  over = false;
  readonly #ports: HeldAttemptPorts;
  /** Where it runs; null for one of a former life, of which only its end is left to say. */
  #instance: HeldInstance | null;
  readonly #stop = new AbortController();
  readonly #leave: Leave;

  constructor(ports: HeldAttemptPorts, claim: Claim, room: Room, instance: HeldInstance | null) {
    this.#ports = ports;
    this.#instance = instance;
    this.claim = claim;
    this.room = room;
    this.#leave = new Leave({
      voice: ports.voice,
      claim,
      key: this.key,
      guest: () => this.guest,
      signal: this.#stop.signal,
      stop: (failure) => this.stop(failure),
    });
  }

  /** A new one, as ordered to this host. */
  static of(
    ports: HeldAttemptPorts,
    hostId: string,
    { taskId, attempt, after }: RunOrder,
    room: Room,
    instance: HeldInstance,
  ): HeldAttempt {
    const claim = { taskId, hostId, attempt, nonce: randomUUID(), after };
    return new HeldAttempt(ports, claim, room, instance);
  }

  /** The supervisor that it runs under. */
  get guest(): Guest | null {
    return this.#instance?.machine.guest ?? null;
  }

  /** Names it to the guest supervisor. */
  get key(): string {
    const { taskId, attempt, nonce } = this.claim;
    return `${taskId}.${attempt}.${nonce}`;
  }

  /** Ends its work before its time. */
  stop(failure: Failure | "dropped"): void {
    this.#stop.abort(new Stop(failure));
  }

  /** Puts `started` on the log: whoever's is stored may act. Resolves with what the log has decided. */
  async begin({ placement, allowance }: RunOrder, stretch: string): Promise<RunReply> {
    const { voice, moment, closing } = this.#ports;
    const body = { ...moment(), ...(placement ? { placement } : {}), ...(allowance ? { allowance } : {}) };
    const standing = await voice.begin(this.claim, "started", body, closing);
    if (standing === "gone") {
      this.stop("dropped");
      this.#leave.refuse();
      const message = "the log has moved on, or knows nothing of it";
      return { outcome: "refused", reason: "superseded", message };
    }
    if (standing === "stopping") this.stop(CANCELLED);
    this.#leave.grant(stretch);
    return { outcome: "started", sequence: this.claim.after };
  }

  /** Does what was ordered, sees nothing of it left, and has its end said; resolves when that is settled. */
  async work(order: RunOrder): Promise<void> {
    const outcome = await this.#execute(order);
    await this.guest?.release(this.key);
    this.#instance?.giveBack();
    // Nothing is said of an attempt before the log has decided whether it is one.
    await this.#leave.stretch.catch(() => {});
    const stopped = this.#stop.signal.aborted ? (this.#stop.signal.reason as Stop).failure : null;
    if (stopped === "dropped") return;
    if (outcome.ok && stopped === null)
      return this.conclude({ kind: "succeeded", body: { result: outcome.result } });
    const failure = stopped ?? (outcome.ok ? INTERNAL : outcome.failure);
    const { result } = outcome;
    return this.conclude({ kind: "faulted", body: { failure, ...(result ? { result } : {}) } });
  }

  async #execute(order: RunOrder): Promise<Outcome> {
    const { executor, log } = this.#ports;
    const machine = () => {
      if (this.#instance === null) throw new Error("an attempt has no instance");
      return this.#instance.machine;
    };
    try {
      return await executor({
        order,
        get machine() {
          return machine();
        },
        memoryLimitBytes: this.room.memoryLimitBytes,
        attemptKey: this.key,
        signal: this.#stop.signal,
        onRun: (run) => {
          this.run = run;
        },
        stretch: async () => {
          const stretch = await this.#leave.stretch;
          // It may have been told to stop while it waited.
          this.#stop.signal.throwIfAborted();
          return stretch;
        },
        moveOn: (limitMs) => this.#moveOn(limitMs),
      });
    } catch (error) {
      if (!(error instanceof Stop)) log.error({ error, attemptKey: this.key }, "an attempt met a bug");
      const message = error instanceof Error ? error.message : String(error);
      return { ok: false, failure: { category: "internal", message } };
    }
  }

  /** Says how it ended until that is settled; what the log does not answer lies on disk meanwhile. */
  async conclude(fact: Finished["fact"], onDisk = false): Promise<void> {
    const { voice, finished, log, closing, tellOvertaken } = this.#ports;
    const { taskId, attempt, nonce } = this.claim;
    this.over = true;
    let kept: Promise<void> | null = onDisk ? Promise.resolve() : null;
    const keep = () => {
      const { after } = this.claim;
      kept ??= finished
        .keep({ taskId, attempt, nonce, after, fact })
        .catch((error: unknown) =>
          log.error({ taskId, error }, "what was finished could not be kept on disk"),
        );
    };
    const timer = setTimeout(keep, KEEP_AFTER_MS);
    const settled = await voice.end(this.claim, fact, closing);
    clearTimeout(timer);
    if (settled === "given-up") keep();
    if (kept !== null) {
      await kept;
      if (settled !== "given-up") await finished.forget(this.claim);
    }
    if (settled === "overtaken")
      tellOvertaken(this.claim, `${inWords(fact)}; the task had moved on by then, so this does not count`);
    log.info({ taskId, attempt, fact: fact.kind, settled }, fact.kind);
  }

  /** Its tree was frozen for want of a lease. */
  resume(): Promise<void> {
    return this.#leave.resume();
  }

  async #moveOn(limitMs: number): Promise<Failure | null> {
    const { signal } = this.#stop;
    const inTime = AbortSignal.timeout(Math.max(1, Math.min(limitMs, MOVE_MS)));
    const exchange = async () => {
      const exchanged = await this.#instance?.exchange(AbortSignal.any([signal, inTime]));
      this.#instance = exchanged ?? null;
    };
    await this.guest?.release(this.key);
    try {
      await this.#leave.renew(exchange, "its gates begin in an instance that its work has not touched");
      return null;
    } catch (error) {
      signal.throwIfAborted();
      if (!inTime.aborted) throw error;
      return limitMs < MOVE_MS ? NO_TIME : NONE_FRESH;
    }
  }
}

const NO_TIME: Failure = {
  category: "timeout",
  message: "the task's time was over before an instance was ready for its gates",
};
const NONE_FRESH: Failure = {
  category: "host",
  message: `no fresh instance for its gates was ready within ${MOVE_MS / 60_000} min: its host's log says why`,
};
const INTERNAL: Failure = { category: "internal", message: "the attempt ended without a reason" };
