// Goes through the queue whenever something has changed, and asks the best host for each task. It places;
// whether the attempt begins is for the host and the log to say.
import { ruleOf } from "../../shared/config/settings.ts";
import type { DeployRequest } from "../../shared/contracts/deploy-request.ts";
import type { Answer } from "../../shared/contracts/failure.ts";
import type { RunOrder, RunReply } from "../../shared/contracts/order.ts";
import type { Outlook, Usual } from "../../shared/contracts/outlook.ts";
import type { Receipt } from "../../shared/contracts/receipt.ts";
import { outlookOf } from "./explain.ts";
import type { Fleet } from "./fleet.ts";
import type { Work } from "./footprints.ts";
import { type Asked, Leave, type LeavePorts } from "./leave.ts";
import { MakingRoom, type RoomPorts } from "./making-room.ts";
import { place, toReceipt } from "./placement.ts";
import { ahead } from "./position.ts";
import type { Queue } from "./queue.ts";
import type { QueueEntry } from "./queue-entry.ts";
import { Round } from "./round.ts";
import type { Situation } from "./situation.ts";
import { WaitingReceipts } from "./waiting-receipts.ts";

export interface DispatchPorts extends RoomPorts, LeavePorts {
  leads(): boolean;
  nowMs(): number;
  /** The clock of the times on the log, ms since the epoch. */
  brokerNowMs(): number;
  /** From 0 up to 1. */
  random(): number;
  /** What is known of attempts of some work; null if nothing is. */
  usual(work: Work): Usual | null;
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
/** A thousand hosts beat every second, and no pass each is worth a hundredth of that second, ms. */
const LATER_MS = 25;
/** Hosts are asked so many orders at once; more wait for the next answer, and the bus is not flooded. */
export const ORDERS_AT_ONCE = 256;

export class Dispatcher {
  readonly #queue: Queue;
  readonly #fleet: Fleet;
  readonly #silenceMs: number;
  readonly #ports: DispatchPorts;
  #planned = false;
  #plannedLater = false;
  /** Orders of which the log shows nothing yet, by task. */
  readonly #asking = new Map<string, Asked>();
  /** Of them, those that have no answer yet. */
  #unanswered = 0;
  readonly #leave: Leave;
  readonly #room: MakingRoom;
  readonly #waiting: WaitingReceipts;

  /** `silenceMs`: a host not heard of for so long is offline. */
  constructor(queue: Queue, fleet: Fleet, silenceMs: number, ports: DispatchPorts) {
    this.#queue = queue;
    this.#fleet = fleet;
    this.#silenceMs = silenceMs;
    this.#ports = ports;
    this.#leave = new Leave(fleet, this.#asking, ports);
    this.#room = new MakingRoom(queue, fleet, ports);
    this.#waiting = new WaitingReceipts(queue, fleet, this.#leave, ports.publish);
  }

  /** Has a pass made a little later: who calls often, and is in no haste, has few made. */
  wakeLater(): void {
    if (this.#plannedLater) return;
    this.#plannedLater = true;
    setTimeout(() => {
      this.#plannedLater = false;
      this.wake();
    }, LATER_MS).unref();
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
    const situation = this.#situation();
    const { nowMs, brokerNowMs } = situation;
    const { admits, affords, mayBegin, rules, barred } = this.#leave.now(brokerNowMs);
    const passed = ({ taskId }: QueueEntry) => this.#room.passed(taskId, nowMs);
    const offer = (entry: QueueEntry): "asked" | "refused" | "too little memory" => {
      if (entry.asked !== null) this.#withdraw(entry);
      const placement = place(entry, this.#fleet, situation);
      const { host, refusals } = placement;
      if (host === null) {
        if (refusals.memory === undefined) return "refused";
        passed(entry);
        return "too little memory";
      }
      void this.#ask(entry, host.id, toReceipt(entry, placement, situation, new Date()), nowMs);
      // It may be the one probe of a breaker.
      if (this.#leave.isBarred("host", host.id, brokerNowMs)) situation.barred.add(host.id);
      if (this.#leave.isBarred("repository", entry.repository, brokerNowMs)) barred.add(entry.repository);
      return "asked";
    };
    const shareOf = ({ repository }: QueueEntry) => ruleOf(repository, rules).share;
    for (const entry of this.#room.first(nowMs))
      if (this.#mayAsk() && mayBegin(entry) && offer(entry) === "asked")
        this.#queue.charge(entry, shareOf(entry));
    const round = new Round(this.#queue, { nowMs, admits, affords, passed });
    for (let entry = round.next(); entry !== null && this.#mayAsk(); entry = round.next()) {
      const came = offer(entry);
      if (came === "asked") round.take(entry, shareOf(entry));
      else {
        round.refuse(entry, came === "too little memory");
        if (!this.#anyFreeSlot(nowMs)) return;
      }
    }
  }

  /** Writes why the first in the queue wait. */
  explainWaiting(): void {
    if (this.#ports.leads()) this.#waiting.write(this.#situation());
  }

  /** The whole decision about a queued task as it would be made now; null if it is not queued. */
  outlook(taskId: string): Outlook | null {
    const entry = this.#queue.get(taskId);
    if (entry === undefined) return null;
    const situation = this.#situation();
    const rules = this.#ports.settings()["placement.repositories"];
    return outlookOf(entry, this.#fleet, situation, {
      ahead: ahead(this.#queue, entry, rules),
      heldUp: this.#leave.heldUp(entry, situation.brokerNowMs),
      at: new Date(),
    });
  }

  /** Keeps hosts for tasks that find no room otherwise. */
  makeRoom(): void {
    if (!this.#ports.leads()) return;
    const situation = this.#situation();
    const { mayBegin } = this.#leave.now(situation.brokerNowMs);
    this.#room.sweep(situation, this.#ports.settings(), mayBegin);
  }

  forget(taskId: string): void {
    this.#room.forget(taskId);
    this.#waiting.forget(taskId);
    this.#asking.delete(taskId);
    this.#ports.budgets.giveBack(taskId);
  }

  #situation(): Situation & { barred: Set<string> } {
    const settings = this.#ports.settings();
    const brokerNowMs = this.#ports.brokerNowMs();
    return {
      nowMs: this.#ports.nowMs(),
      brokerNowMs,
      silenceMs: this.#silenceMs,
      policy: settings["placement.policy"],
      weights: settings["placement.weights"],
      barred: this.#leave.barred("host", brokerNowMs),
      usual: this.#ports.usual,
      random: this.#ports.random,
    };
  }

  async #ask(entry: QueueEntry, hostId: string, receipt: Receipt, nowMs: number): Promise<void> {
    const { taskId, attempt, after, repository, memoryBytes } = entry;
    const asked = { hostId };
    entry.asked = asked;
    this.#asking.set(taskId, { hostId, repository });
    entry.notBeforeMs = nowMs + ASK_MS;
    this.#fleet.reserve(hostId, taskId, entry.reservation(nowMs, this.#ports.brokerNowMs()));
    const allowance = this.#ports.budgets.hold(entry, this.#ports.settings());
    this.#unanswered++;
    const request = await this.#ports.request(entry);
    const reply: Answer<RunReply> | null =
      request === null || entry.removed
        ? null
        : await this.#ports.ask(hostId, {
            taskId,
            attempt,
            after,
            request,
            memoryBytes,
            ...(allowance === null ? {} : { allowance }),
            placement: receipt.summary,
          });
    if (this.#unanswered-- === ORDERS_AT_ONCE) this.wake();
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
    if (isAboutTask(reply)) entry.notBeforeMs = thenMs + LOG_KNOWS_MORE_MS;
    else this.#fleet.avoid(hostId, thenMs + avoidMs, whyRefused(reply));
    if (whyRefused(reply) === "memory") this.#fleet.lacks(hostId, entry.memoryBytes);
    this.wake();
    setTimeout(() => this.wake(), isAboutTask(reply) ? LOG_KNOWS_MORE_MS : avoidMs).unref();
  }

  /** The order counts no more: the host has the room again, unless the log says that the task runs there. */
  #withdraw(entry: QueueEntry): void {
    const { taskId, asked } = entry;
    entry.asked = null;
    this.#asking.delete(taskId);
    this.#ports.budgets.giveBack(taskId);
    if (asked !== null && this.#ports.runsOn(taskId) !== asked.hostId)
      this.#fleet.release(asked.hostId, taskId);
  }

  #mayAsk(): boolean {
    return this.#unanswered < ORDERS_AT_ONCE;
  }

  #anyFreeSlot(nowMs: number): boolean {
    for (const host of this.#fleet.hosts.values())
      if (nowMs - host.heardAtMs <= this.#silenceMs && host.reservations.size < host.heartbeat.slots.total)
        return true;
    return false;
  }
}

const whyRefused = (reply: Answer<RunReply> | null): string =>
  reply?.ok && reply.value.outcome === "refused" ? reply.value.reason : "no answer";

/** It says nothing against the host: the request could not be read, or the log knows more of the task than we do. */
const isAboutTask = (reply: Answer<RunReply> | null): boolean =>
  reply === null || (reply.ok && reply.value.outcome === "refused" && reply.value.reason === "superseded");
