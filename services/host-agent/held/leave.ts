// An attempt's leave to act: the stretch of its supervisor's lease under which the log has accepted it. After a silence,
// and under another supervisor, the log is asked anew; nothing goes on before it has agreed.
import type { Failure } from "../../../shared/contracts/failure.ts";
import type { Guest } from "../supervisor/guest-keeper.ts";
import { Stop } from "./executor.ts";
import type { Claim, Voice } from "./voice.ts";

export interface LeavePorts {
  voice: Voice;
  claim: Claim;
  /** Names the attempt to its supervisor. */
  key: string;
  /** The supervisor it is under now; null: none. */
  guest(): Guest | null;
  /** Aborted when it has to end. */
  signal: AbortSignal;
  stop(failure: Failure | "dropped"): void;
}

export class Leave {
  readonly #ports: LeavePorts;
  /** Rejected when the log refused it. */
  #stretch = Promise.withResolvers<string>();
  /** Its tree stands still, and nobody has been allowed yet to let it go on. */
  #frozen = false;
  #resuming: Promise<void> | null = null;

  constructor(ports: LeavePorts) {
    this.#ports = ports;
    // Refused attempts reject it, whether anybody waits for it or not.
    this.#stretch.promise.catch(() => {});
  }

  /** The stretch under which it may act. */
  get stretch(): Promise<string> {
    return this.#stretch.promise;
  }

  grant(stretch: string): void {
    this.#stretch.resolve(stretch);
  }

  refuse(): void {
    this.#stretch.reject(new Stop("dropped"));
  }

  /** Its tree was frozen for want of a lease: the log is asked whether it may still act. */
  async resume(): Promise<void> {
    this.#frozen = true;
    this.#resuming ??= this.#resume().finally(() => {
      this.#resuming = null;
    });
    await this.#resuming;
  }

  /**
   * `move` brings it under another supervisor, where it has nothing yet; what it had has ended. A supervisor knows its own
   * stretches of lease alone, so leave for one of the next one's is asked for as after a silence.
   */
  async renew(move: () => Promise<void>, reason: string): Promise<void> {
    await this.#resuming;
    this.#frozen = false;
    await move();
    await this.#ask({ reason });
    this.#ports.signal.throwIfAborted();
  }

  async #resume(): Promise<void> {
    try {
      // A first `started` under way decides first.
      await this.#stretch.promise;
      // It may freeze again while it is being let go on.
      while (this.#frozen && !this.#ports.signal.aborted) if (!(await this.#tryToResume())) return;
    } catch {
      // Refused from the start: its work has ended already.
    }
  }

  /** False when there is nothing to hope for any more. */
  async #tryToResume(): Promise<boolean> {
    const guest = this.#ports.guest();
    const stretch = await this.#ask({});
    if (guest === null || stretch === null) return false;
    this.#frozen = false;
    const thawing = await guest.thaw(this.#ports.key, stretch);
    if (thawing === "frozen") this.#frozen = true;
    return thawing !== "gone";
  }

  /** The stretch that the log has agreed to; null if it may not act any more. */
  async #ask(body: { reason?: string }): Promise<string | null> {
    const { voice, claim, guest, signal, stop } = this.#ports;
    const stretch = (await guest()?.nextStretch(signal)) ?? null;
    if (stretch === null) return null;
    const standing = await voice.begin(claim, "resumed", body, signal);
    if (standing !== "mine") {
      stop(standing === "gone" ? "dropped" : CANCELLED);
      return null;
    }
    this.#stretch = Promise.withResolvers();
    this.#stretch.resolve(stretch);
    return stretch;
  }
}

export const CANCELLED: Failure = { category: "cancelled", message: "the task was cancelled" };
