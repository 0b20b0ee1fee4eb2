// One command of an attempt: started in the sandbox and the attempt's control groups, heard, held to its time and its
// silence, and asked to end, each time harder. What else of its tree there is, is its attempt's business.
import { type ChildProcess, spawn } from "node:child_process";
import { Server } from "node:net";
import path from "node:path";
import type { Doors } from "./doors.ts";
import { DOORS_PATH, type Sandbox } from "./inside.ts";
import type { Priority } from "./priority.ts";
import { signalAll, treeOf } from "./processes.ts";
import type { Exec, ExitCause } from "./protocol.ts";
import { commandMark } from "./state.ts";
import { setApart } from "./steering.ts";

export interface CommandPorts {
  sandbox: Sandbox;
  priority: Priority;
  /** An entry for the environment, by which a later life finds what is left. */
  mark: [name: string, value: string];
  supervisor: string;
  doors: Doors;
  spawned(process: number, pid: number): void;
  /** False: the host does not take more at the moment; `resume` is called when it does. */
  output(process: number, stream: "stdout" | "stderr", bytes: Buffer, resume: () => void): boolean;
}

/** What its attempt hears of it; the first, or the others in their order. */
export interface CommandEvents {
  neverBegan(message: string): void;
  exited(): void;
  /** Its output has been passed on. */
  closed(exitCode: number | null, signal: NodeJS.Signals | null): void;
}

/** Why it was ended before it ended by itself. */
export type Ending = Exclude<ExitCause, "exited" | "spawn-failed">;

const KILL_GRACE_MS = 5_000;
const DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const DEFAULT_STOP_SIGNALS: NodeJS.Signals[] = ["SIGTERM"];

export class RunningCommand {
  readonly exec: Exec;
  ending: Ending | null = null;
  readonly #ports: CommandPorts;
  readonly #child: ChildProcess;
  readonly #beganMs = performance.now();
  readonly #stopSignals: NodeJS.Signals[];
  #activeMs = 0;
  /** `#activeMs` when it last printed anything. */
  #heardAtMs = 0;
  /** When it is asked by the next of its signals, or killed, ms; null before it is asked at all. */
  #pressAtMs: number | null = null;

  constructor(
    exec: Exec,
    place: { attempt: string; procsFiles: string[]; doors: string | undefined },
    ports: CommandPorts,
    events: CommandEvents,
  ) {
    this.exec = exec;
    this.#ports = ports;
    this.#stopSignals = [...(exec.stopSignals ?? DEFAULT_STOP_SIGNALS)];
    const { doors = [], network = "machine" } = exec;
    const doorWithPort = network === "own" ? doors.find(({ port }) => port !== undefined) : undefined;
    // Where nothing is kept apart there is nobody to be led astray.
    const { argv, outside } =
      ports.sandbox.isolation === "sandbox"
        ? setApart(exec.argv, exec.env, process.env.PATH ?? DEFAULT_PATH)
        : { argv: exec.argv, outside: exec.env };
    const [program = "", ...args] = ports.sandbox.wrap({
      attempt: place.attempt,
      procsFiles: place.procsFiles,
      argv,
      cwd: exec.cwd,
      mounts: exec.mounts ?? null,
      network,
      ...(place.doors === undefined ? {} : { doors: place.doors }),
      ...(doorWithPort?.port === undefined ? {} : { port: doorWithPort.port }),
    });
    const shown = ports.sandbox.isolation === "process-group" ? (place.doors ?? "") : DOORS_PATH;
    const paths = doors.flatMap(({ name, pathVariable }) =>
      pathVariable === undefined ? [] : [[pathVariable, path.join(shown, name)]],
    );
    const marks = [...paths, ports.mark, commandMark(ports.supervisor, exec.process)];
    const child = ports.priority.atOrdinary(() =>
      spawn(program, args, {
        // Inside the sandbox it is set by the sandbox's own init.
        cwd: ports.sandbox.isolation === "process-group" ? exec.cwd : "/",
        env: { ...outside, ...Object.fromEntries(marks) },
        stdio: [
          ...([exec.stdin === "pipe" ? "pipe" : "ignore", "pipe", "pipe"] as const),
          ...(doorWithPort === undefined ? [] : ["ipc" as const]),
        ],
        detached: true,
      }),
    );
    this.#child = child;
    child.once("error", (error) => {
      if (child.pid === undefined) events.neverBegan(error.message);
    });
    if (child.pid === undefined) return;
    ports.spawned(exec.process, child.pid);
    child.stdin?.on("error", () => {});
    for (const stream of ["stdout", "stderr"] as const) this.#passOn(stream);
    if (doorWithPort !== undefined) this.#takePort(doorWithPort.name, place.attempt);
    child.once("exit", () => events.exited());
    this.#whenClosed(events.closed);
  }

  /** Not by the event `close`: that never comes where this end has shut the channel (Node 24). */
  #whenClosed(closed: CommandEvents["closed"]): void {
    const child = this.#child;
    let awaited = 3;
    const end = () => {
      if (--awaited === 0) closed(child.exitCode, child.signalCode);
    };
    child.once("exit", end);
    child.stdout?.once("close", end);
    child.stderr?.once("close", end);
  }

  /** What opens the port inside hands it out, and ends; the command begins then, and has nothing to do with it. */
  #takePort(door: string, attempt: string): void {
    this.#child.once("message", (_message, handle) => {
      this.#child.disconnect();
      if (!(handle instanceof Server)) return;
      this.#ports.doors.adopt(attempt, door, handle);
      this.#child.once("exit", () => handle.close());
    });
  }

  #passOn(stream: "stdout" | "stderr"): void {
    const pipe = this.#child[stream];
    pipe?.on("error", () => {});
    pipe?.on("data", (bytes: Buffer) => {
      this.#heardAtMs = this.#activeMs;
      if (!this.#ports.output(this.exec.process, stream, bytes, () => pipe.resume())) pipe.pause();
    });
  }

  /** Its time without what it was frozen, ms; from its start if nobody has looked at it since. */
  durationMs(frozen: boolean): number {
    return !frozen && this.#activeMs === 0 ? performance.now() - this.#beganMs : this.#activeMs;
  }

  /** Called often: time-outs, and the next signal; true once it is to be killed. */
  look(nowMs: number, sinceLastMs: number, frozen: boolean): boolean {
    if (!frozen) this.#activeMs += sinceLastMs;
    const { timeoutMs = Number.POSITIVE_INFINITY, silenceMs = Number.POSITIVE_INFINITY } = this.exec;
    const due = this.#activeMs > timeoutMs || this.#activeMs - this.#heardAtMs > silenceMs;
    if (due && this.ending === null) {
      this.ending = this.#activeMs > timeoutMs ? "timeout" : "silent";
      return this.askToEnd(nowMs);
    }
    return this.#pressAtMs !== null && nowMs >= this.#pressAtMs && this.#press(nowMs);
  }

  /** Begins to ask it, if nobody has; true if there is no asking. */
  askToEnd(nowMs: number): boolean {
    return this.#pressAtMs === null && this.#press(nowMs);
  }

  /** Asks it to end, each time harder; true once nothing but killing is left. */
  #press(nowMs: number): boolean {
    const signal = this.#stopSignals.shift();
    this.#pressAtMs = signal === undefined ? Number.POSITIVE_INFINITY : nowMs + this.#graceMs;
    if (signal !== undefined) this.signal(signal);
    return signal === undefined;
  }

  get #graceMs(): number {
    return this.exec.killGraceMs ?? KILL_GRACE_MS;
  }

  /** To the command and what it started, not to what only holds the sandbox. */
  signal(signal: NodeJS.Signals): void {
    // Launcher and init come first; a signal to them would be lost, or end the sandbox before its time.
    const holding = this.#ports.sandbox.isolation === "process-group" ? 0 : 2;
    signalAll(this.tree().slice(holding), signal);
  }

  /** Its living processes that are below the first one. */
  tree(): number[] {
    return this.#child.pid === undefined ? [] : treeOf(this.#child.pid);
  }

  write(bytes: Buffer): void {
    this.#child.stdin?.write(bytes);
  }

  endStdin(): void {
    this.#child.stdin?.end();
  }
}
