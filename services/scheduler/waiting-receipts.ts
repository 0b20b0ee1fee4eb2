// Why the first in the queue wait, written down where that has changed. Made at leisure: most tasks wait briefly.
import type { Receipt } from "../../shared/contracts/receipt.ts";
import type { Fleet } from "./fleet.ts";
import type { Leave } from "./leave.ts";
import { inWords, place, toReceipt } from "./placement.ts";
import type { Queue } from "./queue.ts";
import type { Situation } from "./situation.ts";

/** Tasks whose waiting is explained: the first in the queue are the ones people ask about. */
export const WAITING_RECEIPTS = 100;

export class WaitingReceipts {
  readonly #queue: Queue;
  readonly #fleet: Fleet;
  readonly #leave: Leave;
  readonly #publish: (receipt: Receipt) => void;
  /** Latest words about a task that fits nowhere, so that a receipt is written only when they change. */
  readonly #words = new Map<string, string>();

  constructor(queue: Queue, fleet: Fleet, leave: Leave, publish: (receipt: Receipt) => void) {
    this.#queue = queue;
    this.#fleet = fleet;
    this.#leave = leave;
    this.#publish = publish;
  }

  write(situation: Situation): void {
    let looked = 0;
    for (const entry of this.#queue) {
      if (entry.asked !== null) continue;
      if (looked++ >= WAITING_RECEIPTS) return;
      const placement = place(entry, this.#fleet, situation);
      const heldUp = this.#leave.heldUp(entry, situation.brokerNowMs)?.words ?? null;
      const words = heldUp ?? inWords(placement, situation.policy);
      if ((placement.host !== null && heldUp === null) || this.#words.get(entry.taskId) === words) continue;
      this.#words.set(entry.taskId, words);
      // Where it would go says nothing while it may go nowhere.
      this.#publish(toReceipt(entry, { ...placement, host: null }, situation, new Date(), words));
    }
  }

  forget(taskId: string): void {
    this.#words.delete(taskId);
  }
}
