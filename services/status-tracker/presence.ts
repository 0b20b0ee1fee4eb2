// Which hosts are alive, and which attempts are lost. Pure: heartbeats and the clock come as arguments; times
// are ms on the tracker's monotonic clock.
import type { Heartbeat } from "../../shared/contracts/heartbeat.ts";
import type { Lifecycle } from "../../shared/lifecycle/table.ts";

interface Life {
  boot: number;
  counter: number;
  heardAtMs: number;
  attempts: Set<string>;
}

export interface SeenHost {
  heartbeat: Heartbeat;
  heardAtMs: number;
  /** The broker's time of it, ms since the epoch. */
  timeMs: number;
}

export type Gone = "absent" | "silent";

const attemptKey = (taskId: string, attempt: number, nonce: string | null): string =>
  `${taskId} ${attempt} ${nonce}`;

export class Presence {
  /** The last heartbeat of each host. */
  readonly hosts = new Map<string, SeenHost>();
  /** The same per installation: two machines with one id do not speak for each other. */
  readonly #lives = new Map<string, Life>();
  /** When each host last said something that nobody understands. */
  readonly #unreadableAtMs = new Map<string, number>();
  readonly #silenceMs: number;
  /** Since when the tracker has been connected and following without a gap. */
  #followingSinceMs: number;

  constructor(silenceMs: number, nowMs: number) {
    this.#silenceMs = silenceMs;
    this.#followingSinceMs = nowMs;
  }

  /** The tracker was cut off, or stood still: nobody is declared dead before a full grace period. */
  startGrace(nowMs: number): void {
    this.#followingSinceMs = nowMs;
  }

  hear(heartbeat: Heartbeat, timeMs: number, heardAtMs: number): void {
    const key = `${heartbeat.hostId} ${heartbeat.installation}`;
    const known = this.#lives.get(key);
    if (known && !isLater(heartbeat, known)) return;
    this.#unreadableAtMs.delete(heartbeat.hostId);
    this.#lives.set(key, {
      boot: heartbeat.boot,
      counter: heartbeat.counter,
      heardAtMs,
      attempts: new Set(heartbeat.attempts.map((held) => attemptKey(held.taskId, held.attempt, held.nonce))),
    });
    this.hosts.set(heartbeat.hostId, { heartbeat, heardAtMs, timeMs });
  }

  /**
   * It spoke, if nobody knows what it said: the server has acknowledged it, so what runs there may act. True the
   * first time, until something readable comes.
   */
  hearUnreadable(hostId: string, heardAtMs: number): boolean {
    const isNew = !this.#unreadableAtMs.has(hostId);
    this.#unreadableAtMs.set(hostId, heardAtMs);
    return isNew;
  }

  /** Drops what was not heard of since: nobody asks for it any more, and ids are used up. */
  forgetBefore(heardAtMs: number): void {
    for (const map of [this.hosts, this.#lives])
      for (const [key, seen] of map) if (seen.heardAtMs < heardAtMs) map.delete(key);
    for (const [hostId, atMs] of this.#unreadableAtMs)
      if (atMs < heardAtMs) this.#unreadableAtMs.delete(hostId);
  }

  isOnline(host: SeenHost, nowMs: number): boolean {
    return nowMs - host.heardAtMs <= this.#silenceMs;
  }

  /**
   * Why the active attempt of a task is gone; null while it may act. `silent` holds only once the leader of
   * HOSTS, asked after the silence was complete, knows nothing newer either.
   */
  gone(taskId: string, task: Lifecycle, nowMs: number): Gone | null {
    const life = this.#lives.get(`${task.hostId} ${task.installation}`);
    if (
      life &&
      isLater(life, { boot: task.boot, counter: task.counter }) &&
      !life.attempts.has(attemptKey(taskId, task.attempt, task.nonce))
    )
      return "absent";
    const heardAtMs = Math.max(
      life?.heardAtMs ?? Number.NEGATIVE_INFINITY,
      this.#unreadableAtMs.get(task.hostId ?? "") ?? Number.NEGATIVE_INFINITY,
      this.#followingSinceMs,
    );
    return nowMs - heardAtMs > this.#silenceMs ? "silent" : null;
  }
}

interface Moment {
  boot: number;
  counter: number;
}

const isLater = (one: Moment, other: Moment): boolean =>
  one.boot > other.boot || (one.boot === other.boot && one.counter > other.counter);
