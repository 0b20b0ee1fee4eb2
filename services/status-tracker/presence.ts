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
  /** When each installation's latest fact was seen. */
  readonly #spokeAtMs = new Map<string, number>();
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
    const key = installationOf(heartbeat);
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

  /** Its host has said something of the task: it holds a lease, though its heartbeat may be delivered later. */
  spoke(task: Lifecycle, heardAtMs: number): void {
    this.#spokeAtMs.set(installationOf(task), heardAtMs);
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
    for (const map of [this.#unreadableAtMs, this.#spokeAtMs])
      for (const [hostId, atMs] of map) if (atMs < heardAtMs) map.delete(hostId);
  }

  isOnline(host: SeenHost, nowMs: number): boolean {
    return nowMs - host.heardAtMs <= this.#silenceMs;
  }

  /** Known for certain only once every host that is there has had the time to say so. */
  mayTakeStrangers(nowMs: number): boolean {
    if (nowMs - this.#followingSinceMs <= this.#silenceMs) return true;
    for (const { heartbeat } of this.hosts.values()) if (heartbeat.untrusted) return true;
    return false;
  }

  /**
   * Why the active attempt of a task is gone; null while it may act. `silent` holds only once the leader of
   * HOSTS, asked after the silence was complete, knows nothing newer either.
   */
  gone(taskId: string, task: Lifecycle, nowMs: number): Gone | null {
    const life = this.#lives.get(installationOf(task));
    if (
      life &&
      isLater(life, { boot: task.boot, counter: task.counter }) &&
      !life.attempts.has(attemptKey(taskId, task.attempt, task.nonce))
    )
      return "absent";
    const heardAtMs = Math.max(
      life?.heardAtMs ?? Number.NEGATIVE_INFINITY,
      this.#unreadableAtMs.get(task.hostId ?? "") ?? Number.NEGATIVE_INFINITY,
      this.#spokeAtMs.get(installationOf(task)) ?? Number.NEGATIVE_INFINITY,
      this.#followingSinceMs,
    );
    return nowMs - heardAtMs > this.#silenceMs ? "silent" : null;
  }
}

const installationOf = ({ hostId, installation }: Pick<Lifecycle, "hostId" | "installation">): string =>
  `${hostId} ${installation}`;

interface Moment {
  boot: number;
  counter: number;
}

const isLater = (one: Moment, other: Moment): boolean =>
  one.boot > other.boot || (one.boot === other.boot && one.counter > other.counter);
