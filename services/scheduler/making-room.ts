// Hosts that are held for a task: one that others pass again and again because it asks for more room than is ever free
// at once, and, where the operator allows it, an urgent one for which low attempts are stopped.
import type { Settings } from "../../shared/config/settings.ts";
import type { StopOrder } from "../../shared/contracts/order.ts";
import { refusal } from "./feasible.ts";
import type { Fleet } from "./fleet.ts";
import { sacrifice } from "./preemption.ts";
import type { Queue } from "./queue.ts";
import type { QueueEntry } from "./queue-entry.ts";
import { roomAfter } from "./remedy.ts";
import type { Situation } from "./situation.ts";

/** A hold lasts so long, and is made anew by every sweep while it is wanted. */
const HOLD_MS = 5_000;
/** Of all hosts, this share is held at once for tasks that were passed; one at least. */
const HELD_SHARE = 0.05;
/** An attempt that is told to stop has so long to be gone: SIGTERM, its patience, SIGKILL, and the log. */
const STOPPING_MS = 20_000;
/** Urgent tasks for which attempts are stopped at a time. */
const URGENT_AT_ONCE = 20;
/** Each look for what could give way goes through all hosts; a sweep takes so many at most. */
const URGENT_LOOKS = 200;

export interface RoomPorts {
  /** What comes of it shows on the log. */
  stop(hostId: string, order: StopOrder): void;
}

interface Hold {
  hostId: string;
  /** Attempts there were told to stop: nothing more is done for the task before this time, ms. */
  stoppingUntilMs: number;
}

export class MakingRoom {
  readonly #queue: Queue;
  readonly #fleet: Fleet;
  readonly #ports: RoomPorts;
  readonly #holds = new Map<string, Hold>();
  /** Since when each task has been passed for want of memory, the longest first, ms. */
  readonly #passedSinceMs = new Map<string, number>();

  constructor(queue: Queue, fleet: Fleet, ports: RoomPorts) {
    this.#queue = queue;
    this.#fleet = fleet;
    this.#ports = ports;
  }

  /** It was its turn, and the room that was free was too small for it. */
  passed(taskId: string, nowMs: number): void {
    if (!this.#passedSinceMs.has(taskId)) this.#passedSinceMs.set(taskId, nowMs);
  }

  /** Tasks for which a host is held: what becomes free there is offered to them first. */
  *first(nowMs: number): Generator<QueueEntry> {
    for (const taskId of this.#holds.keys()) {
      const entry = this.#queue.get(taskId);
      if (entry !== undefined && nowMs >= entry.notBeforeMs) yield entry;
    }
  }

  /** `mayBegin`: it is not held up, but for want of a host. */
  sweep(situation: Situation, settings: Settings, mayBegin: (task: QueueEntry) => boolean): void {
    for (const [taskId, { hostId }] of this.#holds) this.#keep(taskId, hostId, situation, mayBegin);
    if (settings["placement.preemption"]) this.#preempt(situation, mayBegin);
    this.#holdForPassed(situation, settings["placement.patienceMs"], mayBegin);
  }

  forget(taskId: string): void {
    this.#passedSinceMs.delete(taskId);
    const hold = this.#holds.get(taskId);
    if (hold === undefined) return;
    this.#holds.delete(taskId);
    this.#fleet.hold(hold.hostId, taskId, 0);
  }

  /** Unless the host is of no more use to the task. */
  #keep(taskId: string, hostId: string, situation: Situation, mayBegin: (task: QueueEntry) => boolean): void {
    const entry = this.#queue.get(taskId);
    const host = this.#fleet.hosts.get(hostId);
    const refused = entry && host && refusal(entry, host, situation);
    const isOfUse = refused === null || refused === "slots" || refused === "memory" || refused === "avoided";
    if (entry !== undefined && isOfUse && mayBegin(entry))
      this.#fleet.hold(hostId, taskId, situation.nowMs + HOLD_MS);
    else {
      this.#holds.delete(taskId);
      this.#fleet.hold(hostId, taskId, 0);
    }
  }

  #preempt(situation: Situation, mayBegin: (task: QueueEntry) => boolean): void {
    const { nowMs } = situation;
    let [left, looks] = [URGENT_AT_ONCE, URGENT_LOOKS];
    for (const lane of this.#queue.urgent())
      for (const entry of lane) {
        if (left === 0 || looks === 0) return;
        if (entry.removed || entry.asked !== null || nowMs < entry.notBeforeMs) continue;
        if (nowMs < (this.#holds.get(entry.taskId)?.stoppingUntilMs ?? 0)) {
          left--;
          continue;
        }
        if (!mayBegin(entry)) {
          // Those behind it wait for the same, but where it has used some of its own budget.
          if (entry.spent === null) break;
          continue;
        }
        looks--;
        const found = sacrifice(entry, this.#fleet.regard(entry, nowMs), situation);
        // Nobody gives way for those behind it either: they ask for the same.
        if (found === null) break;
        left--;
        this.#hold(entry, found.hostId, nowMs, nowMs + STOPPING_MS);
        for (const stop of found.stops) this.#ports.stop(found.hostId, stop);
      }
  }

  #holdForPassed(situation: Situation, patienceMs: number, mayBegin: (task: QueueEntry) => boolean): void {
    const { nowMs } = situation;
    const atMost = Math.max(1, Math.floor(HELD_SHARE * this.#fleet.hosts.size));
    for (const [taskId, sinceMs] of this.#passedSinceMs) {
      if (this.#holds.size >= atMost || nowMs - sinceMs < patienceMs) return;
      const entry = this.#queue.get(taskId);
      if (entry === undefined || this.#holds.has(taskId) || !mayBegin(entry)) continue;
      const hostId = this.#soonest(entry, situation);
      if (hostId !== null) this.#hold(entry, hostId, nowMs, 0);
    }
  }

  /** The host that has room for it first, if nothing more is placed there. */
  #soonest(entry: QueueEntry, situation: Situation): string | null {
    let soonest: string | null = null;
    let least = Number.POSITIVE_INFINITY;
    for (const host of this.#fleet.regard(entry, situation.nowMs)) {
      const ms = roomAfter(host, entry, situation)?.ms ?? null;
      if (ms !== null && ms < least) [soonest, least] = [host.id, ms];
    }
    return soonest;
  }

  #hold({ taskId }: QueueEntry, hostId: string, nowMs: number, stoppingUntilMs: number): void {
    const before = this.#holds.get(taskId);
    if (before !== undefined) this.#fleet.hold(before.hostId, taskId, 0);
    this.#holds.set(taskId, { hostId, stoppingUntilMs });
    this.#fleet.hold(hostId, taskId, nowMs + HOLD_MS);
  }
}
