// One attempt in the guest: its processes, started only under the present stretch of lease, frozen and thawed
// together, and ended with everything they have started. What one stretch has let run, no later one lets go on.
import { type ChildProcess, spawn } from "node:child_process";
import { setTimeout as delay } from "node:timers/promises";
import { type Cgroup, type CgroupSupport, createCgroup } from "./cgroup.ts";
import type { MemoryUse } from "./cgroup-limits.ts";
import type { Sandbox } from "./inside.ts";
import { Permission } from "./permission.ts";
import type { Priority } from "./priority.ts";
import { markedWith, signalAll, signalEach, treeOf } from "./processes.ts";
import type { Exec, Exit, ExitCause } from "./protocol.ts";
import { commandMark } from "./state.ts";

export interface GroupPorts {
  sandbox: Sandbox;
  cgroups: CgroupSupport;
  priority: Priority;
  /** An entry for the environment, by which a later life finds what is left. */
  mark: [name: string, value: string];
  supervisor: string;
  spawned(process: number, pid: number): void;
  /** False: the host does not take more at the moment; `resume` is called when it does. */
  output(process: number, stream: "stdout" | "stderr", bytes: Buffer, resume: () => void): boolean;
  exited(exit: Exit): void;
}

interface Running {
  exec: Exec;
  child: ChildProcess;
  activeMs: number;
  /** `activeMs` when it last printed anything. */
  heardAtMs: number;
  ending: Exclude<ExitCause, "exited" | "spawn-failed"> | null;
  /** When it is asked by the next of its signals, or killed, ms; null before it is asked at all. */
  pressAtMs: number | null;
  stopSignals: NodeJS.Signals[];
}

interface Pending {
  exec: Exec;
  /** What came for it meanwhile; null is the end. */
  stdin: (Buffer | null)[];
}

const KILL_GRACE_MS = 5_000;
const DEFAULT_STOP_SIGNALS: NodeJS.Signals[] = ["SIGTERM"];
const LEFT_POLL_MS = 5;
/** How often it is measured what memory the group needs. */
const MEASURE_MS = 250;

export class AttemptGroup {
  readonly #ports: GroupPorts;
  readonly #name: string;
  readonly #running = new Map<number, Running>();
  /** Asked for while no lease allowed them. */
  #pending: Pending[] = [];
  #cgroup: Cgroup | null = null;
  readonly #permission = new Permission();
  #killed = false;
  /** The most memory that it was seen to need, bytes; 0 before the first look. */
  #neededBytes = 0;
  /** So often its limit of processes had been met when the last command began. */
  #forksRefused = 0;
  #measuredAtMs = Number.NEGATIVE_INFINITY;

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

  /** Begins the process if the stretch that holds now is the one it was given, or keeps it until the group thaws. */
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
    for (const running of this.#running.values()) this.#end(running, "killed", nowMs, true);
  }

  thaw(stretch: string): void {
    if (!this.frozen) return;
    this.#permission.thaw(stretch);
    this.#setFrozen(false);
    for (const { exec, stdin } of this.#pending.splice(0)) {
      this.#start(exec);
      for (const bytes of stdin)
        if (bytes === null) this.endStdin(exec.process);
        else this.write(exec.process, bytes);
    }
  }

  /** Ends everything: asked first, unless it is frozen and could not hear. */
  kill(cause: Running["ending"], nowMs: number): void {
    this.#killed ||= cause === "killed";
    for (const { exec } of this.#pending.splice(0)) this.#never(exec, cause ?? "killed");
    for (const running of this.#running.values()) this.#end(running, cause, nowMs, this.frozen);
    if (this.frozen) this.#thawDead();
  }

  /** Ends everything at once, without a word. */
  destroy(): void {
    this.#killed = true;
    this.#pending = [];
    for (const running of this.#running.values()) this.#end(running, "killed", 0, true);
    this.#thawDead();
  }

  /** Called often: time-outs, SIGKILL after SIGTERM, frozen for too long. */
  look(nowMs: number, sinceLastMs: number, frozenLimitMs: number): void {
    if (this.#permission.frozenForMs(nowMs) > frozenLimitMs) this.kill("frozen-too-long", nowMs);
    if (nowMs - this.#measuredAtMs >= MEASURE_MS) this.#measure(nowMs);
    // Whatever forks for ever goes on trying: it is not waited for.
    if (this.#hasTooManyProcesses())
      for (const running of this.#running.values()) this.#end(running, "too-many-processes", nowMs, true);
    for (const running of this.#running.values()) {
      if (!this.frozen) running.activeMs += sinceLastMs;
      const { timeoutMs, silenceMs } = running.exec;
      if (timeoutMs !== undefined && running.activeMs > timeoutMs && running.ending === null)
        this.#end(running, "timeout", nowMs, false);
      const silentMs = running.activeMs - running.heardAtMs;
      if (silenceMs !== undefined && silentMs > silenceMs && running.ending === null)
        this.#end(running, "silent", nowMs, false);
      if (running.pressAtMs !== null && nowMs >= running.pressAtMs) this.#press(running, nowMs);
    }
  }

  signal(process: number, signal: NodeJS.Signals): void {
    const running = this.#running.get(process);
    if (running) signalAll(this.#commandOf(running), signal);
  }

  /** For its stdin; one that has not begun reads it then. */
  write(process: number, bytes: Buffer): void {
    const running = this.#running.get(process);
    if (running === undefined) this.#pending.find(({ exec }) => exec.process === process)?.stdin.push(bytes);
    else running.child.stdin?.write(bytes);
  }

  endStdin(process: number): void {
    const running = this.#running.get(process);
    if (running === undefined) this.#pending.find(({ exec }) => exec.process === process)?.stdin.push(null);
    else running.child.stdin?.end();
  }

  pids(): number[] {
    const trees = [...this.#running.values()].flatMap((running) => [
      ...(running.child.pid === undefined ? [] : treeOf(running.child.pid)),
      ...this.#strays(running),
    ]);
    return [...new Set([...trees, ...(this.#cgroup?.members() ?? [])])];
  }

  /** The control group goes once nothing is in it. */
  release(): void {
    this.#cgroup?.remove();
    this.#cgroup = null;
  }

  #start(exec: Exec): void {
    this.#cgroup ??= createCgroup(this.#ports.cgroups, this.#name, exec.limits ?? {});
    const beganMs = performance.now();
    const [program = "", ...args] = this.#ports.sandbox.wrap({
      attempt: this.#name,
      argv: exec.argv,
      cwd: exec.cwd,
      mounts: exec.mounts ?? null,
      procsFiles: this.#cgroup.procsFiles,
    });
    const marks = [this.#ports.mark, commandMark(this.#ports.supervisor, exec.process)];
    const child = this.#ports.priority.atOrdinary(() =>
      spawn(program, args, {
        // Inside the sandbox it is set by the sandbox's own init.
        cwd: this.#ports.sandbox.isolation === "process-group" ? exec.cwd : "/",
        env: { ...exec.env, ...Object.fromEntries(marks) },
        stdio: [exec.stdin === "pipe" ? "pipe" : "ignore", "pipe", "pipe"],
        detached: true,
      }),
    );
    this.#forksRefused = this.#cgroup.forksRefused();
    const outOfMemoryBefore = this.#cgroup.memory()?.outOfMemory ?? false;
    const running: Running = {
      exec,
      child,
      activeMs: 0,
      heardAtMs: 0,
      ending: null,
      pressAtMs: null,
      stopSignals: [...(exec.stopSignals ?? DEFAULT_STOP_SIGNALS)],
    };
    child.once("error", (error) => {
      if (child.pid !== undefined) return;
      this.#running.delete(exec.process);
      this.#never(exec, "spawn-failed", error.message);
    });
    this.#running.set(exec.process, running);
    if (child.pid === undefined) return;
    this.#ports.spawned(exec.process, child.pid);
    child.stdin?.on("error", () => {});
    for (const stream of ["stdout", "stderr"] as const) {
      const pipe = child[stream];
      pipe?.on("error", () => {});
      pipe?.on("data", (bytes: Buffer) => {
        running.heardAtMs = running.activeMs;
        if (!this.#ports.output(exec.process, stream, bytes, () => pipe.resume())) pipe.pause();
      });
    }
    // What it left behind goes too, or the pipes would stay open.
    child.once("exit", () => signalEach(() => this.#strays(running), "SIGKILL"));
    child.once("close", (exitCode, signal) => {
      const durationMs =
        !this.frozen && running.activeMs === 0 ? performance.now() - beganMs : running.activeMs;
      void this.#untilNothingIsLeft(running).then(() => {
        this.#running.delete(exec.process);
        const memory = this.#cgroup?.memory();
        const outOfMemory = memory?.outOfMemory === true && !outOfMemoryBefore;
        this.#ports.exited({
          process: exec.process,
          exitCode,
          signal,
          durationMs,
          // It may have given up before anybody looked.
          cause: running.ending ?? (this.#hasTooManyProcesses() ? "too-many-processes" : "exited"),
          ...(memory ? { outOfMemory, ...this.#peak(memory, outOfMemory) } : {}),
        });
      });
    });
  }

  #hasTooManyProcesses(): boolean {
    return (this.#cgroup?.forksRefused() ?? 0) > this.#forksRefused;
  }

  #measure(nowMs: number): void {
    this.#measuredAtMs = nowMs;
    if (this.#running.size === 0) return;
    this.#neededBytes = Math.max(this.#neededBytes, this.#cgroup?.memory()?.neededBytes ?? 0);
  }

  /** What was charged at most has file cache in it, which grows up to any limit: it tells only of a limit that was met. */
  #peak({ peakBytes }: MemoryUse, outOfMemory: boolean): Pick<Exit, "peakMemoryBytes"> {
    const bytes = outOfMemory || this.#neededBytes === 0 ? peakBytes : this.#neededBytes;
    return bytes > 0 ? { peakMemoryBytes: bytes } : {};
  }

  /** An end is told once it is one: a namespace takes a moment to fall, and so does a daemon that is killed. */
  async #untilNothingIsLeft(running: Running): Promise<void> {
    for (let left = this.#strays(running); left.length > 0; left = this.#strays(running)) {
      signalAll(left, "SIGKILL");
      if (this.frozen && this.#running.size === 1) this.#thawDead();
      await delay(LEFT_POLL_MS);
    }
  }

  #end(running: Running, cause: Running["ending"], nowMs: number, atOnce: boolean): void {
    running.ending ??= cause;
    if (running.child.pid === undefined) return;
    if (!atOnce) {
      if (running.pressAtMs === null) this.#press(running, nowMs);
      return;
    }
    running.pressAtMs = Number.POSITIVE_INFINITY;
    // The namespace's init goes with the first of these, and takes all others along.
    signalAll(treeOf(running.child.pid), "SIGKILL");
    signalEach(() => this.#strays(running), "SIGKILL");
  }

  /** Asks it to end, each time harder. */
  #press(running: Running, nowMs: number): void {
    const signal = running.stopSignals.shift();
    if (signal === undefined) return this.#end(running, running.ending, nowMs, true);
    running.pressAtMs = nowMs + (running.exec.killGraceMs ?? KILL_GRACE_MS);
    signalAll(this.#commandOf(running), signal);
  }

  /** The command and what it started, without what only holds the sandbox. */
  #commandOf({ child }: Running): number[] {
    if (child.pid === undefined) return [];
    const tree = treeOf(child.pid);
    // Launcher and init come first; a signal to them would be lost, or end the sandbox before its time.
    return this.#ports.sandbox.isolation === "process-group" ? tree : tree.slice(2);
  }

  /** What the command has started, as far as it is no longer below it; the command itself may be gone. */
  #strays(running: Running): number[] {
    if (this.#cgroup?.procsFiles.length === 0)
      return markedWith(commandMark(this.#ports.supervisor, running.exec.process).join("="));
    const others = [...this.#running.values()].filter((other) => other !== running);
    const theirs = new Set(others.flatMap(({ child }) => (child.pid === undefined ? [] : treeOf(child.pid))));
    return (this.#cgroup?.members() ?? []).filter((pid) => !theirs.has(pid));
  }

  #freeze(nowMs: number): void {
    if (this.frozen) return;
    this.#permission.freeze(nowMs);
    this.#setFrozen(true);
  }

  #setFrozen(frozen: boolean): void {
    if (this.#cgroup?.freeze) return this.#cgroup.freeze(frozen);
    if (!frozen) return signalAll(this.pids(), "SIGCONT");
    signalEach(() => this.pids(), "SIGSTOP");
  }

  /** A frozen process takes not even SIGKILL before it thaws (control groups, version 1). */
  #thawDead(): void {
    this.#cgroup?.freeze?.(false);
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
