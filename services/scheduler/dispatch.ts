// Goes through the queue whenever something has changed, and asks the best host for each task. It places;
// whether the attempt begins is for the host and the log to say.
import type { Answer } from "../../shared/contracts/failure.ts";
import type { RunOrder, RunReply } from "../../shared/contracts/order.ts";
import type { Receipt } from "../../shared/contracts/receipt.ts";
import type { DeployRequest } from "../../shared/contracts/task.ts";
import type { PlacementTimes } from "./feasible.ts";
import type { Fleet } from "./fleet.ts";
import { inWords, place, toReceipt } from "./placement.ts";
import type { Queue, QueueEntry } from "./queue.ts";

export interface DispatchPorts {
  leads(): boolean;
  nowMs(): number;
  /** Of the task's request as it stands on the log; null when it cannot be read now. */
  request(entry: QueueEntry): Promise<DeployRequest | null>;
  ask(hostId: string, order: RunOrder): Promise<Answer<RunReply>>;
  publish(receipt: Receipt): void;
  /** The host on which the log says that the task runs; null if none. */
  runsOn(taskId: string): string | null;
}

/** A host that refused or did not answer is passed over for so long, ms. */
const AVOID_MS = 300;
/** Tasks whose waiting is explained: the first in the queue are the ones people ask about. */
const WAITING_RECEIPTS = 100;

export class Dispatcher {
  readonly #queue: Queue;
  readonly #fleet: Fleet;
  readonly #times: PlacementTimes;
  readonly #ports: DispatchPorts;
  #planned = false;
  /** Latest words about a task that fits nowhere, so that a receipt is written only when they change. */
  readonly #waiting = new Map<string, string>();

  constructor(queue: Queue, fleet: Fleet, times: PlacementTimes, ports: DispatchPorts) {
    this.#queue = queue;
    this.#fleet = fleet;
    this.#times = times;
    this.#ports = ports;
  }

  /** Has a pass made soon; many calls make one. */
  wake(): void {
    if (this.#planned) return;
    this.#planned = true;
    queueMicrotask(() => {
      this.#planned = false;
      this.pass();
    });
  }

  /** One pass over the queue: places what fits. */
  pass(): void {
    if (!this.#ports.leads()) return;
    const nowMs = this.#ports.nowMs();
    // Tasks that ask for the same find the same refusals until something changes.
    const infeasible = new Set<string>();
    for (const entry of this.#queue) {
      if (entry.asked) continue;
      const shape = shapeOf(entry);
      if (infeasible.has(shape)) continue;
      const placement = place(entry, this.#fleet.hosts, nowMs, this.#times);
      if (placement.hostId !== null) {
        void this.#ask(entry, placement.hostId, toReceipt(entry, placement, new Date()), nowMs);
        continue;
      }
      infeasible.add(shape);
      if (!this.#anyFreeSlot(nowMs)) return;
    }
  }

  /** Writes why the first in the queue wait, where that has changed. Made at leisure: most tasks wait briefly. */
  explainWaiting(): void {
    if (!this.#ports.leads()) return;
    const nowMs = this.#ports.nowMs();
    let looked = 0;
    for (const entry of this.#queue) {
      if (entry.asked) continue;
      if (looked++ >= WAITING_RECEIPTS) return;
      const placement = place(entry, this.#fleet.hosts, nowMs, this.#times);
      const words = inWords(placement);
      if (placement.hostId !== null || this.#waiting.get(entry.taskId) === words) continue;
      this.#waiting.set(entry.taskId, words);
      this.#ports.publish(toReceipt(entry, placement, new Date()));
    }
  }

  forget(taskId: string): void {
    this.#waiting.delete(taskId);
  }

  async #ask(entry: QueueEntry, hostId: string, receipt: Receipt, nowMs: number): Promise<void> {
    const { taskId, attempt, after, memoryBytes, cpus } = entry;
    entry.asked = true;
    this.#fleet.reserve(hostId, taskId, { memoryBytes, cpus, sinceMs: nowMs });
    const request = await this.#ports.request(entry);
    const reply: Answer<RunReply> =
      request === null || entry.removed
        ? { ok: false, error: { code: "unavailable", message: "the request cannot be read" } }
        : await this.#ports.ask(hostId, { taskId, attempt, after, request, placement: receipt.summary });
    if (reply.ok && reply.value.outcome === "started") {
      this.#ports.publish(receipt);
      // The log is about to show it; until then the entry is not offered again.
      return;
    }
    if (this.#ports.runsOn(taskId) === hostId) return;
    this.#fleet.release(hostId, taskId);
    if (entry.removed) return;
    const host = this.#fleet.hosts.get(hostId);
    if (host) host.avoidUntilMs = this.#ports.nowMs() + AVOID_MS;
    setTimeout(() => {
      entry.asked = false;
      this.wake();
    }, AVOID_MS).unref();
  }

  #anyFreeSlot(nowMs: number): boolean {
    for (const host of this.#fleet.hosts.values())
      if (
        nowMs - host.heardAtMs <= this.#times.silenceMs &&
        host.reservations.size < host.heartbeat.slots.total
      )
        return true;
    return false;
  }
}

const shapeOf = (entry: QueueEntry): string =>
  `${entry.memoryBytes} ${entry.cpus} ${entry.fork} ${entry.labels === null ? "" : JSON.stringify(entry.labels)}`;
