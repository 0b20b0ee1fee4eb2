// One attempt in the guest: its commands, started only under the present stretch of lease, frozen and thawed together,
// and ended with everything they have started. What one stretch has let run, no later one lets go on.
import { AttemptTree } from "./attempt-tree.ts";
import { type Cgroup, type CgroupSupport, createCgroup } from "./cgroup.ts";
import type { DiskUse, DiskUser } from "./disk-watch.ts";
import { LimitWatch } from "./limit-watch.ts";
import { Permission } from "./permission.ts";
import type { AttemptUse, Exec, Exit, ExitCause } from "./protocol.ts";
import { type CommandPorts, type Ending, RunningCommand } from "./running-command.ts";

export interface GroupPorts extends CommandPorts {
  cgroups: CgroupSupport;
  exited(exit: Exit): void;
}

interface Pending {
  exec: Exec;
  /** What came for it meanwhile; null is the end. */
  stdin: (Buffer | null)[];
}

/** What its commands run in, from the first one on. */
interface Place {
  cgroup: Cgroup;
  tree: AttemptTree;
  limits: LimitWatch;
}

export class AttemptGroup implements DiskUser {
  readonly #ports: GroupPorts;
  readonly #name: string;
  readonly #running = new Map<number, RunningCommand>();
  /** Asked for while no lease allowed them. */
  #pending: Pending[] = [];
  #place: Place | null = null;
  readonly #permission = new Permission();
  #killed = false;
  #hasFilledDisk = false;
  /** CPU time as it was told last, and when. */
  #cpuTold: { cpuMs: number; atMs: number } | null = null;

  constructor(name: string, ports: GroupPorts) {
    this.#name = name;
    this.#ports = ports;
  }

  get frozen(): boolean {
    return this.#permission.frozen;
  }

  get empty(): boolean {
    return this.#running.size === 0 && this.#pending.length === 0;
  }

  /** Begins the command if the stretch that holds now is the one it was given, or keeps it until the group thaws. */
  exec(exec: Exec, stretch: string | null, nowMs: number): void {
    if (this.#killed) return this.#never(exec, "killed");
    this.holdTo(stretch, nowMs);
    if (this.#permission.begin(exec.stretch, stretch)) return this.#start(exec);
    this.#pending.push({ exec, stdin: [] });
    this.#freeze(nowMs);
  }

  /** Freezes what has no permission under the stretch that holds now (null: none does). */
  holdTo(stretch: string | null, nowMs: number): void {
    if (this.empty || !this.#permission.hasLapsed(stretch)) return;
    if (!this.#killed) return this.#freeze(nowMs);
    // It is on its way out, and may not take its time over that any more.
    this.#endAll("killed");
  }

  thaw(stretch: string): void {
    if (!this.frozen) return;
    this.#permission.thaw(stretch);
    this.#place?.tree.setFrozen(false);
    for (const { exec, stdin } of this.#pending.splice(0)) {
      this.#start(exec);
      for (const bytes of stdin)
        if (bytes === null) this.endStdin(exec.process);
        else this.write(exec.process, bytes);
    }
  }

  /** What it uses now, and has used since this was last asked. */
  use(nowMs: number): AttemptUse {
    const memoryBytes = this.#place?.limits.neededBytes() ?? 0;
    const cpuMs = this.#place?.cgroup.cpuTimeMs() ?? null;
    const before = this.#cpuTold;
    this.#cpuTold = cpuMs === null ? null : { cpuMs, atMs: nowMs };
    const cpus =
      cpuMs !== null && before !== null && nowMs > before.atMs
        ? Math.max(0, cpuMs - before.cpuMs) / (nowMs - before.atMs)
        : undefined;
    return {
      attempt: this.#name,
      ...(memoryBytes === 0 ? {} : { memoryBytes }),
      ...(cpus === undefined ? {} : { cpus }),
    };
  }

  /** Ends everything: asked first, unless it is frozen and could not hear. */
  kill(cause: Ending, nowMs: number): void {
    this.#killed ||= cause === "killed";
    for (const { exec } of this.#pending.splice(0)) this.#never(exec, cause);
    if (this.frozen) {
      this.#endAll(cause);
      this.#place?.tree.thawDead();
    } else for (const command of this.#running.values()) this.#askToEnd(command, cause, nowMs);
  }

  /** Ends everything at once, without a word. */
  destroy(): void {
    this.#killed = true;
    this.#pending = [];
    this.#endAll("killed");
    this.#place?.tree.thawDead();
  }

  /** Called often: time-outs, SIGKILL after SIGTERM, limits that nobody else holds, frozen for too long. */
  look(nowMs: number, sinceLastMs: number, frozenLimitMs: number): void {
    if (this.#permission.frozenForMs(nowMs) > frozenLimitMs) this.kill("frozen-too-long", nowMs);
    if (this.#running.size > 0) this.#place?.limits.look(nowMs);
    // Whatever forks for ever goes on trying, and what takes all memory goes on taking it: neither is waited for.
    const exceeded = this.#place?.limits.exceeded() ?? null;
    if (exceeded !== null) this.#endAll(exceeded);
    for (const command of this.#running.values())
      if (command.look(nowMs, sinceLastMs, this.frozen)) this.#place?.tree.destroy(command);
  }

  signal(process: number, signal: NodeJS.Signals): void {
    this.#running.get(process)?.signal(signal);
  }

  /** For its stdin; one that has not begun reads it then. */
  write(process: number, bytes: Buffer): void {
    const command = this.#running.get(process);
    if (command === undefined) this.#pending.find(({ exec }) => exec.process === process)?.stdin.push(bytes);
    else command.write(bytes);
  }

  endStdin(process: number): void {
    const command = this.#running.get(process);
    if (command === undefined) this.#pending.find(({ exec }) => exec.process === process)?.stdin.push(null);
    else command.endStdin();
  }

  pids(): number[] {
    return this.#place?.tree.pids() ?? [];
  }

  get hasFilledDisk(): boolean {
    return this.#hasFilledDisk;
  }

  diskUse(): DiskUse | null {
    const [command] = this.#bound();
    const { mounts, limits } = command?.exec ?? {};
    if (mounts === undefined || limits?.diskFreeBytes === undefined) return null;
    const { workTree, home, temporary, dependencies = [] } = mounts;
    return {
      folders: [workTree, home, temporary].concat(dependencies),
      keepFreeBytes: limits.diskFreeBytes,
    };
  }

  endForDisk(): void {
    for (const command of this.#bound()) {
      this.#hasFilledDisk = true;
      this.#destroy(command, "disk-full");
    }
  }

  /** Commands that may not fill their disk. */
  #bound(): RunningCommand[] {
    return [...this.#running.values()].filter(
      ({ exec: { mounts, limits } }) => mounts !== undefined && limits?.diskFreeBytes !== undefined,
    );
  }

  /** The control group goes once nothing is in it. */
  release(): void {
    this.#place?.cgroup.remove();
    this.#place = null;
  }

  #start(exec: Exec): void {
    // With the machine's network in place of its own it would reach what it may not.
    if (exec.network === "own" && !this.#ports.sandbox.ownNetwork)
      return this.#never(exec, "spawn-failed", "this machine gives a command no network of its own");
    let doors: string | undefined;
    try {
      if (exec.doors !== undefined) doors = this.#ports.doors.open(this.#name, exec.doors);
    } catch (error) {
      return this.#never(exec, "spawn-failed", (error as Error).message);
    }
    const { cgroup, tree, limits } = (this.#place ??= this.#makePlace(exec));
    const before = limits.begin();
    const place = { attempt: this.#name, procsFiles: cgroup.procsFiles, doors };
    const command = new RunningCommand(exec, place, this.#ports, {
      neverBegan: (message) => {
        this.#running.delete(exec.process);
        this.#never(exec, "spawn-failed", message);
      },
      // What it left behind goes too, or the pipes would stay open.
      exited: () => tree.destroyStrays(command),
      closed: (exitCode, signal) => {
        const durationMs = command.durationMs(this.frozen);
        void tree.untilNothingIsLeft(command).then(() => {
          this.#running.delete(exec.process);
          const ranOut = limits.ranOutSince(before);
          // It may have given up at a limit before anybody looked.
          const met = command.ending ?? limits.exceeded() ?? "exited";
          const cause = ranOut ? "out-of-memory" : met;
          const peakMemoryBytes = limits.peakBytes(ranOut);
          this.#ports.exited({
            ...{ process: exec.process, exitCode, signal, durationMs, cause },
            ...(peakMemoryBytes > 0 ? { peakMemoryBytes } : {}),
          });
        });
      },
    });
    this.#running.set(exec.process, command);
  }

  #makePlace({ limits = {} }: Exec): Place {
    const cgroup = createCgroup(this.#ports.cgroups, this.#name, limits);
    const tree = new AttemptTree(cgroup, this.#ports.supervisor, this.#running);
    return { cgroup, tree, limits: new LimitWatch(cgroup, limits, () => tree.pids()) };
  }

  #askToEnd(command: RunningCommand, cause: Ending, nowMs: number): void {
    command.ending ??= cause;
    if (command.askToEnd(nowMs)) this.#place?.tree.destroy(command);
  }

  #endAll(cause: Ending): void {
    for (const command of this.#running.values()) this.#destroy(command, cause);
  }

  #destroy(command: RunningCommand, cause: Ending): void {
    command.ending ??= cause;
    this.#place?.tree.destroy(command);
  }

  #freeze(nowMs: number): void {
    if (this.frozen) return;
    this.#permission.freeze(nowMs);
    this.#place?.tree.setFrozen(true);
  }

  #never(exec: Exec, cause: ExitCause, message?: string): void {
    this.#ports.exited({
      process: exec.process,
      exitCode: null,
      signal: null,
      durationMs: 0,
      cause,
      ...(message === undefined ? {} : { message }),
    });
  }
}
