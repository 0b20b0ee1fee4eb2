// The seam between an attempt's life on the log and its work: what the work is given, and how it ends.

import type { AttemptResult } from "../../../shared/contracts/attempt-result.ts";
import type { Failure } from "../../../shared/contracts/failure.ts";
import type { RunOrder } from "../../../shared/contracts/order.ts";
import type { Machine } from "../instances/machine.ts";
import type { Run } from "../runner/runner.ts";

export interface Work {
  order: RunOrder;
  /** Where its instance is; another one once it has moved on. */
  readonly machine: Machine;
  /** What it may have of memory, as it was admitted. */
  memoryLimitBytes: number;
  /** Names the attempt to the guest supervisor. */
  attemptKey: string;
  /** Aborted with a `Stop` when the attempt has to end before its time. */
  signal: AbortSignal;
  /** Called with what runs once it can be spoken to, and with null once it cannot. */
  onRun(run: Run | null): void;
  /**
   * The stretch of lease under which the log has accepted that the attempt acts. Nothing of the task's own
   * runs before it resolves; it rejects when the attempt was refused.
   */
  stretch(): Promise<string>;
  /**
   * Ends all that it has, and goes on in an instance that it has not touched, once the former one is no more and the log
   * has agreed; why there is none to be had in that time, or null.
   */
  moveOn(limitMs: number): Promise<Failure | null>;
}

export type Outcome =
  | { ok: true; result: AttemptResult }
  | { ok: false; failure: Failure; result?: AttemptResult };

export type Executor = (work: Work) => Promise<Outcome>;

/** Why an attempt is ended from outside: becomes the failure it reports. `dropped`: nobody wants to hear of it. */
export class Stop extends Error {
  readonly failure: Failure | "dropped";

  constructor(failure: Failure | "dropped") {
    super(failure === "dropped" ? "the attempt is no longer ours" : failure.message);
    this.failure = failure;
  }
}
