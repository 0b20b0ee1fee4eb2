// What the scheduler knows of the hosts: their last heartbeats, and what the log says runs on each.
import type { Heartbeat } from "../../shared/contracts/heartbeat.ts";
import type { HostWish } from "../../shared/contracts/wish.ts";
import {
  add,
  type FleetHost,
  type Kept,
  type KnownHost,
  newHost,
  type Reservation,
  settle,
  workOut,
} from "./fleet-host.ts";
import type { QueueEntry } from "./queue-entry.ts";
import { RAMP_MS } from "./room.ts";
import { RunnerBits } from "./runner-bits.ts";

/** What of a task changes how the hosts look to it. */
type Regarded = Pick<QueueEntry, "repository" | "cacheKey">;

export class Fleet {
  readonly #hosts = new Map<string, KnownHost>();
  /** The same, in the order of a scan. */
  #list: KnownHost[] = [];
  readonly #wishes = new Map<string, HostWish["kind"]>();
  /** Attempts on hosts of which no heartbeat has come yet. */
  readonly #early = new Map<string, Map<string, Reservation>>();
  /** Reservations that may be young, the oldest first. */
  #young: Kept[] = [];
  #ripe = 0;
  #chosen = 0;
  /** Hosts with attempts of each repository, and how many. */
  readonly #repositories = new Map<string, Map<KnownHost, number>>();
  readonly #running = new Map<string, number>();
  /** Hosts that keep a clone of each repository. */
  readonly #warm = new Map<string, Set<KnownHost>>();
  #regarded: Regarded = { repository: "", cacheKey: "" };
  readonly #runners = new RunnerBits();

  get hosts(): ReadonlyMap<string, FleetHost> {
    return this.#hosts;
  }

  /** As a decision about a task of this repository sees them at this time. */
  regard({ repository, cacheKey }: Regarded, nowMs: number): readonly FleetHost[] {
    this.#ripen(nowMs);
    const before = this.#regarded;
    if (repository !== before.repository) {
      for (const host of this.#repositories.get(before.repository)?.keys() ?? []) host.same = 0;
      for (const [host, attempts] of this.#repositories.get(repository) ?? []) host.same = attempts;
    }
    if (cacheKey !== before.cacheKey) {
      for (const host of this.#warm.get(before.cacheKey) ?? []) host.warm = 0;
      for (const host of this.#warm.get(cacheKey) ?? []) host.warm = 1;
    }
    if (repository !== before.repository || cacheKey !== before.cacheKey)
      this.#regarded = { repository, cacheKey };
    return this.#list;
  }

  /** The bit that stands for a runner on every host; 0 for one that has none: no host has it, or too many are known. */
  runnerBit = (runner: string): number => this.#runners.bitOf(runner);

  /** Memory of the largest host that could be given work; null if there is none. */
  largestBytes(nowMs: number, silenceMs: number): number | null {
    let largest: number | null = null;
    for (const { closed, heardAtMs, totalBytes } of this.#list)
      if (closed === null && nowMs - heardAtMs <= silenceMs && totalBytes > (largest ?? 0))
        largest = totalBytes;
    return largest;
  }

  /** Attempts of a repository, wherever they run. */
  runningOf(repository: string): number {
    return this.#running.get(repository) ?? 0;
  }

  hear(heartbeat: Heartbeat, nowMs: number): void {
    const known = this.#hosts.get(heartbeat.hostId);
    if (known) {
      this.#remember(known, heartbeat.caches);
      if (!sameNames(heartbeat.runners, known.heartbeat.runners))
        known.runnerBits = this.#runners.bitsOf(heartbeat.runners);
      known.heartbeat = heartbeat;
      known.heardAtMs = nowMs;
      known.freeBelowBytes = Number.POSITIVE_INFINITY;
      workOut(known);
      return;
    }
    const host = newHost(heartbeat, nowMs, this.#wishes.get(heartbeat.hostId) ?? null);
    host.runnerBits = this.#runners.bitsOf(heartbeat.runners);
    this.#hosts.set(host.id, host);
    this.#list.push(host);
    this.#remember(host, heartbeat.caches, []);
    for (const [taskId, reservation] of this.#early.get(host.id) ?? [])
      this.#reserve(host, taskId, reservation);
    this.#early.delete(host.id);
  }

  wish(hostId: string, wish: HostWish["kind"] | null): void {
    if (wish === null) this.#wishes.delete(hostId);
    else this.#wishes.set(hostId, wish);
    const host = this.#hosts.get(hostId);
    if (host === undefined) return;
    host.wish = wish;
    workOut(host);
  }

  reserve(hostId: string, taskId: string, reservation: Reservation): void {
    this.release(hostId, taskId);
    this.#running.set(reservation.repository, this.runningOf(reservation.repository) + 1);
    const host = this.#hosts.get(hostId);
    if (host) return this.#reserve(host, taskId, reservation);
    const early = this.#early.get(hostId) ?? new Map<string, Reservation>();
    this.#early.set(hostId, early.set(taskId, reservation));
  }

  release(hostId: string, taskId: string): void {
    const host = this.#hosts.get(hostId);
    const early = this.#early.get(hostId);
    const reservation = host?.reservations.get(taskId) ?? early?.get(taskId);
    if (reservation === undefined) return;
    const others = this.runningOf(reservation.repository) - 1;
    if (others === 0) this.#running.delete(reservation.repository);
    else this.#running.set(reservation.repository, others);
    if (host) this.#release(host, taskId);
    else early?.delete(taskId);
  }

  /** It refused, or did not answer. */
  avoid(hostId: string, untilMs: number, why: string): void {
    const host = this.#hosts.get(hostId);
    if (host === undefined) return;
    host.avoidUntilMs = untilMs;
    host.avoidedFor = why;
    workOut(host);
  }

  /** It refused an attempt for want of so much memory: what it said before of what is free there is no longer so. */
  lacks(hostId: string, memoryBytes: number): void {
    const host = this.#hosts.get(hostId);
    if (host === undefined) return;
    host.freeBelowBytes = Math.min(host.freeBelowBytes, memoryBytes);
    workOut(host);
  }

  /** Room is being made there for a task. A time that is past ends that, if it is for this one. */
  hold(hostId: string, taskId: string, untilMs: number): void {
    const host = this.#hosts.get(hostId);
    if (host === undefined || (untilMs === 0 && host.heldFor !== taskId)) return;
    host.heldFor = taskId;
    host.heldUntilMs = untilMs;
    workOut(host);
  }

  /** Drops hosts that were not heard of since: they have left. */
  forgetBefore(heardAtMs: number): void {
    for (const [hostId, host] of this.#hosts)
      if (host.heardAtMs < heardAtMs && host.running === 0) {
        this.#remember(host, []);
        this.#hosts.delete(hostId);
      }
    if (this.#hosts.size < this.#list.length) this.#list = [...this.#hosts.values()];
    for (const [hostId, reservations] of this.#early) if (reservations.size === 0) this.#early.delete(hostId);
  }

  #reserve(host: KnownHost, taskId: string, wanted: Reservation): void {
    const { memoryBytes, cpus, repository, type, runner, priority, attempt, preempted } = wanted;
    const { sinceMs, startedAtMs, timeoutMs } = wanted;
    const reservation: Kept = {
      memoryBytes,
      cpus,
      repository,
      type,
      runner,
      priority,
      attempt,
      preempted,
      sinceMs,
      startedAtMs,
      timeoutMs,
      host,
      isYoung: true,
    };
    host.reservations.set(taskId, reservation);
    if (host.heldFor === taskId) host.heldUntilMs = 0;
    host.chosenAt = ++this.#chosen;
    this.#count(host, repository, 1);
    add(host.reserved, reservation, 1);
    add(host.young, reservation, 1);
    this.#young.push(reservation);
    workOut(host);
  }

  #release(host: KnownHost, taskId: string): void {
    const reservation = host.reservations.get(taskId);
    if (reservation === undefined) return;
    host.reservations.delete(taskId);
    this.#count(host, reservation.repository, -1);
    add(host.reserved, reservation, -1);
    if (reservation.isYoung) settle(reservation);
    workOut(host);
  }

  #count(host: KnownHost, repository: string, change: 1 | -1): void {
    const hosts = this.#repositories.get(repository) ?? new Map<KnownHost, number>();
    const attempts = (hosts.get(host) ?? 0) + change;
    if (attempts > 0) this.#repositories.set(repository, hosts.set(host, attempts));
    else hosts.delete(host);
    if (hosts.size === 0) this.#repositories.delete(repository);
    if (repository === this.#regarded.repository) host.same = attempts;
  }

  #remember(
    host: KnownHost,
    caches: readonly string[],
    before: readonly string[] = host.heartbeat.caches,
  ): void {
    if (sameNames(caches, before)) return;
    for (const key of before) {
      const hosts = this.#warm.get(key);
      hosts?.delete(host);
      if (hosts?.size === 0) this.#warm.delete(key);
    }
    for (const key of caches) this.#warm.set(key, (this.#warm.get(key) ?? new Set()).add(host));
    host.warm = caches.includes(this.#regarded.cacheKey) ? 1 : 0;
  }

  #ripen(nowMs: number): void {
    for (; this.#ripe < this.#young.length; this.#ripe++) {
      const oldest = this.#young[this.#ripe] as Kept;
      if (nowMs - oldest.sinceMs < RAMP_MS) break;
      if (oldest.isYoung) settle(oldest);
    }
    // Each is copied past twice at most.
    if (this.#ripe * 2 > this.#young.length) {
      this.#young = this.#young.slice(this.#ripe);
      this.#ripe = 0;
    }
  }
}

/** Most heartbeats say the same as the one before. */
const sameNames = (some: readonly string[], others: readonly string[]): boolean =>
  some.length === others.length && some.every((name, index) => name === others[index]);
