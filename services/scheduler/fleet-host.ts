// A host as a decision sees it. All of it is worked out when a heartbeat, an attempt or a wish changes it, so that a scan
// over a thousand hosts only compares numbers.

import type { Priority } from "../../shared/contracts/deploy-request.ts";
import { diskFloorBytes } from "../../shared/contracts/disk-floor.ts";
import type { Heartbeat } from "../../shared/contracts/heartbeat.ts";
import type { HostWish } from "../../shared/contracts/wish.ts";
import type { Work } from "./footprints.ts";
import type { Footprint } from "./queue-entry.ts";
import { freeBytes, freeCpus, unknownBytes } from "./room.ts";

export interface Reservation extends Footprint, Work {
  priority: Priority;
  attempt: number;
  /** How often an attempt of the task was stopped to make room. */
  preempted: number;
  /** When the attempt began, ms on the scheduler's monotonic clock. */
  sinceMs: number;
  /** The same by the broker's clock, ms since the epoch. */
  startedAtMs: number;
  timeoutMs: number;
}

export interface FleetHost {
  readonly id: string;
  readonly heartbeat: Heartbeat;
  /** ms on the scheduler's monotonic clock. */
  readonly heardAtMs: number;
  /** Attempts that run there or are being asked for, by task. */
  readonly reservations: ReadonlyMap<string, Reservation>;
  /** Σ of what they asked for. */
  readonly reserved: Footprint;
  /** Σ of those that may not have reached yet what they will use. */
  readonly young: Footprint;
  /** Grows with every attempt that is placed anywhere: the smallest was chosen longest ago. */
  readonly chosenAt: number;
  /** It refused or did not answer: not asked again before this time, ms. */
  readonly avoidUntilMs: number;
  /** Why. */
  readonly avoidedFor: string;
  /** It said that it has less memory free than this; known until its next heartbeat. */
  readonly freeBelowBytes: number;
  /** Room is being made there for this task: nothing else is placed before that time, ms. */
  readonly heldFor: string;
  readonly heldUntilMs: number;
  /** It takes nothing new, by its own word, its owner's or an operator's. */
  readonly closed: HostWish["kind"] | "withheld" | null;
  /** From then on it may be given work at all, ms; infinite while it is closed, or has no slot or disk left. */
  readonly openFromMs: number;
  /** One bit for each runner that it has, by `Fleet.runnerBit`. */
  readonly runnerBits: number;
  readonly takesStrangers: boolean;
  readonly isDiskFull: boolean;
  readonly freeBytes: number;
  /** What may turn out to be used besides. */
  readonly unknownBytes: number;
  readonly totalBytes: number;
  readonly freeCpus: number;
  readonly cores: number;
  readonly running: number;
  readonly slots: number;
  /** The share of them that is left once one more attempt runs there. */
  readonly slotShare: number;
  /** Of its cores, between 0 and 1. */
  readonly speed: number;
  /** Attempts there of the repository that was last regarded. */
  readonly same: number;
  /** 1 if it keeps a clone of that, else 0. */
  readonly warm: number;
}

/** The same, for who keeps it. */
export type KnownHost = { -readonly [Field in keyof Omit<FleetHost, "reservations">]: FleetHost[Field] } & {
  reservations: Map<string, Kept>;
  wish: HostWish["kind"] | null;
};

/** A reservation, and where it counts. */
export interface Kept extends Reservation {
  host: KnownHost;
  isYoung: boolean;
}

/** Faster than this counts as this fast. */
const FAST_MHZ = 5_000;

/** What it uses is measured from now on. */
export function settle(reservation: Kept): void {
  reservation.isYoung = false;
  add(reservation.host.young, reservation, -1);
  workOut(reservation.host);
}

export function add(sum: Footprint, { memoryBytes, cpus }: Footprint, sign: 1 | -1): void {
  sum.memoryBytes += sign * memoryBytes;
  sum.cpus += sign * cpus;
}

export function newHost(heartbeat: Heartbeat, heardAtMs: number, wish: KnownHost["wish"]): KnownHost {
  const host: KnownHost = {
    id: heartbeat.hostId,
    heartbeat,
    heardAtMs,
    reservations: new Map(),
    reserved: { memoryBytes: 0, cpus: 0 },
    young: { memoryBytes: 0, cpus: 0 },
    chosenAt: 0,
    avoidUntilMs: 0,
    avoidedFor: "",
    freeBelowBytes: Number.POSITIVE_INFINITY,
    heldFor: "",
    heldUntilMs: 0,
    wish,
    closed: null,
    openFromMs: 0,
    runnerBits: 0,
    takesStrangers: false,
    isDiskFull: false,
    freeBytes: 0,
    unknownBytes: 0,
    totalBytes: 0,
    freeCpus: 0,
    cores: 0,
    running: 0,
    slots: 0,
    slotShare: 0,
    speed: 0,
    same: 0,
    warm: 0,
  };
  workOut(host);
  return host;
}

export function workOut(host: KnownHost): void {
  const { heartbeat, reserved, young } = host;
  host.closed = heartbeat.draining ? "draining" : (host.wish ?? (heartbeat.withheld && "withheld"));
  // Only an instance that is kept apart holds what a stranger wrote.
  host.takesStrangers = heartbeat.untrusted && heartbeat.isolation === "sandbox";
  host.isDiskFull = heartbeat.disk.freeBytes < diskFloorBytes(heartbeat.disk.totalBytes);
  host.freeBytes = Math.min(freeBytes(heartbeat, reserved, young), host.freeBelowBytes - 1);
  host.unknownBytes = unknownBytes(heartbeat, young);
  host.totalBytes = heartbeat.memory.totalBytes;
  host.freeCpus = freeCpus(heartbeat, reserved, young);
  host.cores = heartbeat.cpu.cores;
  host.speed = Math.min(1, heartbeat.cpu.mhz / FAST_MHZ);
  host.running = host.reservations.size;
  host.slots = heartbeat.slots.total;
  host.slotShare = 1 - (host.running + 1) / host.slots;
  const shut = host.closed !== null || host.isDiskFull || host.running >= host.slots;
  host.openFromMs = shut ? Number.POSITIVE_INFINITY : Math.max(host.avoidUntilMs, host.heldUntilMs);
}
