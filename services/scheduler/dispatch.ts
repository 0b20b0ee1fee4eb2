// Goes through the queue whenever something has changed, and asks the best host for each task. It places;
// whether the attempt begins is for the host and the log to say.
import type { Settings } from "../../shared/config/settings.ts";
import type { Answer } from "../../shared/contracts/failure.ts";
import type { RunOrder, RunReply } from "../../shared/contracts/order.ts";
import type { Receipt } from "../../shared/contracts/receipt.ts";
import type { DeployRequest } from "../../shared/contracts/task.ts";
import type { Breakers, Guarded } from "../../shared/lifecycle/breakers.ts";
import type { PlacementTimes } from "./feasible.ts";
import type { Fleet } from "./fleet.ts";
import { inWords, type LogSays, place, toReceipt } from "./placement.ts";
import type { Queue, QueueEntry } from "./queue.ts";

export interface DispatchPorts {
  leads(): boolean;
  settings(): Settings;
  breakers: Breakers;
  nowMs(): number;
  /** The clock of the times on the log, ms since the epoch. */
  brokerNowMs(): number;
  /** Of the task's request as it stands on the log; null when it cannot be read now. */
  request(entry: QueueEntry): Promise<DeployRequest | null>;
  ask(hostId: string, order: RunOrder): Promise<Answer<RunReply>>;
  publish(receipt: Receipt): void;
  /** The host on which the log says that the task runs; null if none. */
  runsOn(taskId: string): string | null;
}

/** A task of which the log knows more is passed over for so long, ms. */
const LOG_KNOWS_MORE_MS = 300;
/** Longer than an order may take, its reading and its answer. */
const ASK_MS = 20_000;
/** A host says that it began once the log has stored it: so long may the log take to show it, ms. */
const SHOWN_MS = 5_000;
/** Tasks whose waiting is explained: the first in the queue are the ones people ask about. */
export const WAITING_RECEIPTS = 100;

export class Dispatcher {
  readonly #queue: Queue;
  readonly #fleet: Fleet;
  readonly #times: PlacementTimes;
  readonly #ports: DispatchPorts;
  #planned = false;
  /** Orders of which the log shows nothing yet, by task. */
  readonly #asking = new Map<string, { hostId: string; repository: string }>();
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
    const logSays = this.#logSays();
    for (const entry of this.#queue) {
      if (nowMs < entry.notBeforeMs) continue;
      if (entry.asked !== null) this.#withdraw(entry);
      if (this.#isBarred("repository", entry.repository, logSays.brokerNowMs)) continue;
      const shape = shapeOf(entry);
      if (infeasible.has(shape)) continue;
      const placement = place(entry, this.#fleet.hosts, nowMs, this.#times, logSays);
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
    const logSays = this.#logSays();
    let looked = 0;
    for (const entry of this.#queue) {
      if (entry.asked !== null) continue;
      if (looked++ >= WAITING_RECEIPTS) return;
      const placement = place(entry, this.#fleet.hosts, nowMs, this.#times, logSays);
      const words = this.#repositoryInWords(entry.repository, logSays.brokerNowMs) ?? inWords(placement);
      const isBarred = this.#isBarred("repository", entry.repository, logSays.brokerNowMs);
      if ((placement.hostId !== null && !isBarred) || this.#waiting.get(entry.taskId) === words) continue;
      this.#waiting.set(entry.taskId, words);
      // Where it would go says nothing while it may go nowhere.
      this.#ports.publish(toReceipt(entry, { ...placement, hostId: null, score: null }, new Date(), words));
    }
  }

  forget(taskId: string): void {
    this.#waiting.delete(taskId);
    this.#asking.delete(taskId);
  }

  #logSays(): LogSays {
    const brokerNowMs = this.#ports.brokerNowMs();
    return { brokerNowMs, isBarred: (hostId) => this.#isBarred("host", hostId, brokerNowMs) };
  }

  /** Its breaker is open, or its one probe is under way or being asked for. */
  #isBarred(guarded: Guarded, name: string, brokerNowMs: number): boolean {
    const breaker = this.#ports.breakers.state(guarded, name, brokerNowMs);
    if (breaker === null) return false;
    if (breaker.state === "open" || breaker.probe !== null) return true;
    for (const { hostId, repository } of this.#asking.values())
      if ((guarded === "host" ? hostId : repository) === name) return true;
    return false;
  }

  #repositoryInWords(repository: string, brokerNowMs: number): string | null {
    const breaker = this.#ports.breakers.state("repository", repository, brokerNowMs);
    if (breaker === null) return null;
    const then = breaker.probe === null ? `after ${new Date(breaker.probeAtMs).toISOString()}` : "under way";
    return `repository ${repository} has an open breaker (${breaker.why}); probe ${then}`;
  }

  async #ask(entry: QueueEntry, hostId: string, receipt: Receipt, nowMs: number): Promise<void> {
    const { taskId, attempt, after, memoryBytes, cpus } = entry;
    const asked = { hostId };
    entry.asked = asked;
    this.#asking.set(taskId, { hostId, repository: entry.repository });
    entry.notBeforeMs = nowMs + ASK_MS;
    this.#fleet.reserve(hostId, taskId, { memoryBytes, cpus, sinceMs: nowMs });
    const request = await this.#ports.request(entry);
    const reply: Answer<RunReply> | null =
      request === null || entry.removed
        ? null
        : await this.#ports.ask(hostId, { taskId, attempt, after, request, placement: receipt.summary });
    const began = reply?.ok === true && reply.value.outcome === "started";
    if (began) this.#ports.publish(receipt);
    if (entry.asked !== asked) return;
    if (began) {
      // The log is about to show it; if it does not, what the host said was not so.
      entry.notBeforeMs = this.#ports.nowMs() + SHOWN_MS;
      return;
    }
    this.#withdraw(entry);
    if (entry.removed) return;
    // Another host may take it at once.
    entry.notBeforeMs = 0;
    const thenMs = this.#ports.nowMs();
    // Who let us wait for long is passed over for as long: it would take the next task's time too.
    const avoidMs = Math.max(this.#ports.settings()["placement.avoidMs"], thenMs - nowMs);
    const host = this.#fleet.hosts.get(hostId);
    if (isAboutTask(reply)) entry.notBeforeMs = thenMs + LOG_KNOWS_MORE_MS;
    else if (host) host.avoidUntilMs = thenMs + avoidMs;
    this.wake();
    setTimeout(() => this.wake(), isAboutTask(reply) ? LOG_KNOWS_MORE_MS : avoidMs).unref();
  }

  /** The order counts no more: the host has the room again, unless the log says that the task runs there. */
  #withdraw(entry: QueueEntry): void {
    const { taskId, asked } = entry;
    entry.asked = null;
    this.#asking.delete(taskId);
    if (asked !== null && this.#ports.runsOn(taskId) !== asked.hostId)
      this.#fleet.release(asked.hostId, taskId);
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

/** It says nothing against the host: the request could not be read, or the log knows more of the task than we do. */
const isAboutTask = (reply: Answer<RunReply> | null): boolean =>
  reply === null || (reply.ok && reply.value.outcome === "refused" && reply.value.reason === "superseded");
