// What the scheduler knows of the hosts: their last heartbeats, and what the log says runs on each.
import type { Heartbeat } from "../../shared/contracts/heartbeat.ts";
import type { HostWish } from "../../shared/contracts/wish.ts";
import type { Footprint } from "./queue.ts";

export interface Reservation extends Footprint {
  /** When the attempt began, ms on the scheduler's monotonic clock. */
  sinceMs: number;
}

export interface FleetHost {
  heartbeat: Heartbeat;
  /** ms on the scheduler's monotonic clock. */
  heardAtMs: number;
  /** Attempts that run there or are being asked for, by task. */
  reservations: Map<string, Reservation>;
  /** It refused or did not answer: not asked again before this time, ms. */
  avoidUntilMs: number;
  /** An operator wants nothing more placed there. */
  wish: HostWish["kind"] | null;
}

export class Fleet {
  readonly hosts = new Map<string, FleetHost>();
  readonly #wishes = new Map<string, HostWish["kind"]>();
  /** Attempts on hosts of which no heartbeat has come yet. */
  readonly #early = new Map<string, Map<string, Reservation>>();

  hear(heartbeat: Heartbeat, nowMs: number): void {
    const known = this.hosts.get(heartbeat.hostId);
    if (known) {
      known.heartbeat = heartbeat;
      known.heardAtMs = nowMs;
      return;
    }
    this.hosts.set(heartbeat.hostId, {
      heartbeat,
      heardAtMs: nowMs,
      reservations: this.#early.get(heartbeat.hostId) ?? new Map(),
      avoidUntilMs: 0,
      wish: this.#wishes.get(heartbeat.hostId) ?? null,
    });
    this.#early.delete(heartbeat.hostId);
  }

  wish(hostId: string, wish: HostWish["kind"] | null): void {
    if (wish === null) this.#wishes.delete(hostId);
    else this.#wishes.set(hostId, wish);
    const host = this.hosts.get(hostId);
    if (host) host.wish = wish;
  }

  reserve(hostId: string, taskId: string, reservation: Reservation): void {
    const host = this.hosts.get(hostId);
    if (host) host.reservations.set(taskId, reservation);
    else {
      const early = this.#early.get(hostId) ?? new Map<string, Reservation>();
      this.#early.set(hostId, early.set(taskId, reservation));
    }
  }

  /** Drops hosts that were not heard of since: they have left. */
  forgetBefore(heardAtMs: number): void {
    for (const [hostId, host] of this.hosts)
      if (host.heardAtMs < heardAtMs && host.reservations.size === 0) this.hosts.delete(hostId);
    for (const [hostId, reservations] of this.#early) if (reservations.size === 0) this.#early.delete(hostId);
  }

  release(hostId: string, taskId: string): void {
    this.hosts.get(hostId)?.reservations.delete(taskId);
    this.#early.get(hostId)?.delete(taskId);
  }
}
