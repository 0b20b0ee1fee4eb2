// What the scheduler knows of the hosts: their last heartbeats, and what the log says runs on each. What a decision
// reads of a host is kept summed up, so that a scan over all of them adds nothing up.
import type { Heartbeat } from "../../shared/contracts/heartbeat.ts";
import type { HostWish } from "../../shared/contracts/wish.ts";
import type { Footprint } from "./queue.ts";

export interface Reservation extends Footprint {
  repository: string;
  /** When the attempt began, ms on the scheduler's monotonic clock. */
  sinceMs: number;
}

export interface FleetHost {
  readonly id: string;
  heartbeat: Heartbeat;
  /** ms on the scheduler's monotonic clock. */
  heardAtMs: number;
  /** Attempts that run there or are being asked for, by task. */
  readonly reservations: ReadonlyMap<string, Reservation>;
  /** Σ of what they asked for. */
  readonly reserved: Footprint;
  /** Σ of those that may not have reached yet what they will use. */
  readonly young: Footprint;
  /** How many of them are of each repository. */
  readonly repositories: ReadonlyMap<string, number>;
  /** Grows with every attempt that is placed anywhere: the smallest was chosen longest ago. */
  readonly chosenAt: number;
  /** It refused or did not answer: not asked again before this time, ms. */
  avoidUntilMs: number;
  /** An operator wants nothing more placed there. */
  wish: HostWish["kind"] | null;
}

interface Kept extends FleetHost {
  reservations: Map<string, Young>;
  repositories: Map<string, number>;
  chosenAt: number;
}

interface Young extends Reservation {
  host: Kept;
  isYoung: boolean;
}

/** An attempt may take so long to reach the memory and the CPU it will use. */
const RAMP_MS = 45_000;

export class Fleet {
  readonly #hosts = new Map<string, Kept>();
  /** The same, in the order of a scan. */
  #list: Kept[] = [];
  readonly #wishes = new Map<string, HostWish["kind"]>();
  /** Attempts on hosts of which no heartbeat has come yet. */
  readonly #early = new Map<string, Map<string, Reservation>>();
  /** Reservations that may be young, the oldest first. */
  #young: Young[] = [];
  #ripe = 0;
  #chosen = 0;

  get hosts(): ReadonlyMap<string, FleetHost> {
    return this.#hosts;
  }

  /** As a decision sees them at this time. */
  at(nowMs: number): readonly FleetHost[] {
    for (; this.#ripe < this.#young.length; this.#ripe++) {
      const oldest = this.#young[this.#ripe] as Young;
      if (nowMs - oldest.sinceMs < RAMP_MS) break;
      ripen(oldest);
    }
    // Each is copied past twice at most.
    if (this.#ripe > this.#young.length / 2) {
      this.#young = this.#young.slice(this.#ripe);
      this.#ripe = 0;
    }
    return this.#list;
  }

  hear(heartbeat: Heartbeat, nowMs: number): void {
    const known = this.#hosts.get(heartbeat.hostId);
    if (known) {
      known.heartbeat = heartbeat;
      known.heardAtMs = nowMs;
      return;
    }
    const host: Kept = {
      id: heartbeat.hostId,
      heartbeat,
      heardAtMs: nowMs,
      reservations: new Map(),
      reserved: { memoryBytes: 0, cpus: 0 },
      young: { memoryBytes: 0, cpus: 0 },
      repositories: new Map(),
      chosenAt: 0,
      avoidUntilMs: 0,
      wish: this.#wishes.get(heartbeat.hostId) ?? null,
    };
    this.#hosts.set(host.id, host);
    this.#list.push(host);
    for (const [taskId, reservation] of this.#early.get(host.id) ?? [])
      this.#reserve(host, taskId, reservation);
    this.#early.delete(host.id);
  }

  wish(hostId: string, wish: HostWish["kind"] | null): void {
    if (wish === null) this.#wishes.delete(hostId);
    else this.#wishes.set(hostId, wish);
    const host = this.#hosts.get(hostId);
    if (host) host.wish = wish;
  }

  reserve(hostId: string, taskId: string, reservation: Reservation): void {
    const host = this.#hosts.get(hostId);
    if (host) return this.#reserve(host, taskId, reservation);
    const early = this.#early.get(hostId) ?? new Map<string, Reservation>();
    this.#early.set(hostId, early.set(taskId, reservation));
  }

  /** It refused, or did not answer. */
  avoid(hostId: string, untilMs: number): void {
    const host = this.#hosts.get(hostId);
    if (host) host.avoidUntilMs = untilMs;
  }

  release(hostId: string, taskId: string): void {
    const host = this.#hosts.get(hostId);
    if (host) release(host, taskId);
    this.#early.get(hostId)?.delete(taskId);
  }

  /** Drops hosts that were not heard of since: they have left. */
  forgetBefore(heardAtMs: number): void {
    for (const [hostId, host] of this.#hosts)
      if (host.heardAtMs < heardAtMs && host.reservations.size === 0) this.#hosts.delete(hostId);
    if (this.#hosts.size < this.#list.length) this.#list = [...this.#hosts.values()];
    for (const [hostId, reservations] of this.#early) if (reservations.size === 0) this.#early.delete(hostId);
  }

  #reserve(host: Kept, taskId: string, { memoryBytes, cpus, repository, sinceMs }: Reservation): void {
    release(host, taskId);
    const reservation: Young = { memoryBytes, cpus, repository, sinceMs, host, isYoung: true };
    host.reservations.set(taskId, reservation);
    host.chosenAt = ++this.#chosen;
    host.repositories.set(repository, (host.repositories.get(repository) ?? 0) + 1);
    add(host.reserved, reservation, 1);
    add(host.young, reservation, 1);
    this.#young.push(reservation);
  }
}

function release(host: Kept, taskId: string): void {
  const reservation = host.reservations.get(taskId);
  if (reservation === undefined) return;
  host.reservations.delete(taskId);
  const others = (host.repositories.get(reservation.repository) ?? 1) - 1;
  if (others === 0) host.repositories.delete(reservation.repository);
  else host.repositories.set(reservation.repository, others);
  add(host.reserved, reservation, -1);
  ripen(reservation);
}

function ripen(reservation: Young): void {
  if (!reservation.isYoung) return;
  reservation.isYoung = false;
  add(reservation.host.young, reservation, -1);
}

function add(sum: Footprint, { memoryBytes, cpus }: Footprint, sign: 1 | -1): void {
  sum.memoryBytes += sign * memoryBytes;
  sum.cpus += sign * cpus;
}
