// A machine as it truly is in a simulation: its owner's use, what runs on it and how fast, and what it says of itself in
// heartbeats. It admits by the host agent's own rule. The clock is an argument.
import type { Heartbeat } from "../../shared/contracts/heartbeat.ts";
import type { RunOrder } from "../../shared/contracts/order.ts";
import { refusalOf } from "../host-agent/held/admission.ts";
import type { Chance } from "./chance.ts";
import { type Machine, OWNER } from "./machines.ts";
import { MEMORY_RAMP_MS, type Running, usedNow } from "./running.ts";

const DISK = { totalBytes: 1e12, freeBytes: 5e11 };

interface About {
  machine: Machine;
  /** What it has to run tasks with. */
  runners: string[];
  heartbeatMs: number;
  drawn: Chance;
}

interface Beat {
  heartbeat: Heartbeat;
  atMs: number;
  /** Of the host when it was made; it says the same until the next, once nothing grows any more. */
  changes: number;
  steadyFromMs: number;
}

export class SimulatedHost {
  readonly running = new Map<number, Running>();
  /** Counts the changes, so that an end that was planned before one is known to be no more. */
  changes = 0;
  readonly id: string;
  readonly machine: Machine;
  readonly #runners: string[];
  readonly #heartbeatMs: number;
  readonly #firstBeatMs: number;
  readonly #drawn: Chance;
  #ownerBytes = 0;
  #ownerCpus = 0;
  #busyCpus = 0;
  /** What an attempt with a core to itself would have done since the beginning, ms, at `#workedAtMs`. */
  #workMs = 0;
  #workedAtMs = 0;
  #latest: Beat | null = null;

  constructor(id: string, { machine, runners, heartbeatMs, drawn }: About) {
    this.id = id;
    this.machine = machine;
    this.#runners = runners;
    this.#heartbeatMs = heartbeatMs;
    this.#firstBeatMs = -drawn.next() * heartbeatMs;
    this.#drawn = drawn;
    this.#drawOwner();
  }

  /** The owner does something else; the time until the next such change. */
  changeOwner(nowMs: number): number {
    this.beforeChange(nowMs);
    this.#drawOwner();
    return -Math.log(1 - this.#drawn.next()) * OWNER.changeMs;
  }

  #drawOwner(): void {
    const { memoryBytes, cores, owner } = this.machine;
    const swing = owner.memoryShare === 0 ? 0 : this.#drawn.between(-OWNER.swing, OWNER.swing);
    this.#ownerBytes = Math.max(0, owner.memoryShare + swing) * memoryBytes;
    this.#ownerCpus = Math.min(1, 2 * owner.cpuShare * this.#drawn.next()) * cores;
    this.changes++;
  }

  /** True use of everything on the machine now. */
  usedBytes(nowMs: number): number {
    let used = this.#ownerBytes;
    for (const one of this.running.values()) used += usedNow(one, nowMs);
    return used;
  }

  /** What will be used once everything that runs has reached its memory. */
  usedInTheEndBytes(): number {
    let used = this.#ownerBytes;
    for (const one of this.running.values()) used += one.usedBytes;
    return used;
  }

  /** Share of the time that each attempt has the cores it wants, with so many more wanted. */
  speed(moreCpus = 0): number {
    const wanted = this.#ownerCpus + this.#busyCpus + moreCpus;
    return wanted <= this.machine.cores ? 1 : this.machine.cores / wanted;
  }

  /** Work done so far, ms. */
  #worked(nowMs: number): number {
    return this.#workMs + (nowMs - this.#workedAtMs) * this.speed();
  }

  /** To be called before anything about the machine changes: what was true until now is kept. */
  beforeChange(nowMs: number): void {
    this.heartbeat(nowMs);
    this.#workMs = this.#worked(nowMs);
    this.#workedAtMs = nowMs;
  }

  begin(task: Omit<Running, "beganMs" | "endsAtWorkMs">, workMs: number, nowMs: number): void {
    this.beforeChange(nowMs);
    this.running.set(task.task, { ...task, beganMs: nowMs, endsAtWorkMs: this.#workMs + workMs });
    this.#busyCpus += task.usedCpus;
    this.changes++;
  }

  /** The most memory that the attempt used; null if it does not run here. */
  end(task: number, nowMs: number): number | null {
    const ended = this.running.get(task);
    if (ended === undefined) return null;
    this.beforeChange(nowMs);
    this.running.delete(task);
    this.#busyCpus = this.running.size === 0 ? 0 : this.#busyCpus - ended.usedCpus;
    this.changes++;
    return usedNow(ended, nowMs);
  }

  /** Which attempt ends next, and when, if nothing changes. */
  nextEnd(nowMs: number): { task: number; atMs: number } | null {
    let next: Running | null = null;
    for (const one of this.running.values())
      if (next === null || one.endsAtWorkMs < next.endsAtWorkMs) next = one;
    if (next === null) return null;
    const leftMs = Math.max(0, next.endsAtWorkMs - this.#worked(nowMs));
    return { task: next.task, atMs: nowMs + leftMs / this.speed() };
  }

  /** The attempt that the kernel would kill because the machine has less memory than is used; null while it has. */
  outOfMemory(nowMs: number): number | null {
    if (this.usedBytes(nowMs) <= this.machine.memoryBytes) return null;
    let largest: Running | null = null;
    for (const one of this.running.values())
      if (largest === null || usedNow(one, nowMs) > usedNow(largest, nowMs)) largest = one;
    return largest?.task ?? null;
  }

  /** By the host agent's own admission, on what is true now. */
  refusalOf(order: RunOrder, nowMs: number): ReturnType<typeof refusalOf> {
    const { memoryBytes, cores, slots } = this.machine;
    return refusalOf(
      order,
      {
        slots,
        labels: {},
        versions: {},
        runners: this.#runners,
        secrets: [],
        takesStrangers: false,
        cores,
        diskTotalBytes: DISK.totalBytes,
        diskFreeBytes: DISK.freeBytes,
        memoryTotalBytes: memoryBytes,
        memoryAvailableBytes: Math.max(0, memoryBytes - this.usedBytes(nowMs)),
        draining: false,
        withheld: null,
      },
      [...this.running.values()].map((one) => ({
        memoryBytes: one.counted.memoryBytes,
        ageMs: nowMs - one.beganMs,
      })),
    );
  }

  /** The last heartbeat sent, and when; made only when somebody looks, or something changes after it. */
  heartbeat(nowMs: number): Beat {
    const count = Math.floor((nowMs - this.#firstBeatMs) / this.#heartbeatMs);
    const atMs = this.#firstBeatMs + count * this.#heartbeatMs;
    const last = this.#latest;
    if (last !== null && last.atMs >= atMs) return last;
    if (last !== null && last.changes === this.changes && last.atMs >= last.steadyFromMs)
      return (this.#latest = { ...last, atMs });
    const heartbeat = this.#compose(count + 1, atMs);
    let steadyFromMs = Number.NEGATIVE_INFINITY;
    for (const { beganMs } of this.running.values())
      steadyFromMs = Math.max(steadyFromMs, beganMs + MEMORY_RAMP_MS);
    return (this.#latest = { heartbeat, atMs, changes: this.changes, steadyFromMs });
  }

  #compose(counter: number, atMs: number): Heartbeat {
    const { memoryBytes, cores, slots } = this.machine;
    const reserved = { memoryBytes: 0, cpus: 0 };
    for (const one of this.running.values()) {
      reserved.memoryBytes += one.counted.memoryBytes;
      reserved.cpus += one.counted.cpus;
    }
    return {
      hostId: this.id,
      installation: "simulated",
      boot: 1,
      counter,
      heartbeatMs: this.#heartbeatMs,
      cpu: { cores, busy: Math.min(1, (this.#ownerCpus + this.#busyCpus) / cores), mhz: 0 },
      memory: { totalBytes: memoryBytes, availableBytes: Math.max(0, memoryBytes - this.usedBytes(atMs)) },
      disk: DISK,
      slots: { total: slots, free: Math.max(0, slots - this.running.size) },
      reserved,
      attempts: [],
      labels: {},
      caches: [],
      runners: this.#runners,
      secrets: [],
      isolation: "sandbox",
      untrusted: false,
      stopping: false,
      withheld: null,
      draining: false,
      versions: {},
    };
  }
}
