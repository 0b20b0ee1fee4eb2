// Programs of the guest's own that run beside attempts, such as the one that makes their trees: nothing of a task's runs
// in them, so they are outside the sandbox and under no lease. They end with the supervisor, and so do their children.
import { type ChildProcess, spawn } from "node:child_process";
import type { GroupPorts } from "./attempt-group.ts";
import { signalAll, treeOf } from "./processes.ts";

export class OwnPrograms {
  readonly #ports: Pick<GroupPorts, "priority" | "mark" | "output" | "exited">;
  readonly #running = new Map<number, ChildProcess>();

  constructor(ports: Pick<GroupPorts, "priority" | "mark" | "output" | "exited">) {
    this.#ports = ports;
  }

  /** By the arguments of `main.ts`. */
  start(number: number, args: string[]): void {
    const { priority, mark, output, exited } = this.#ports;
    const beganMs = performance.now();
    const child = priority.atOrdinary(() =>
      spawn(process.execPath, [process.argv[1] ?? "", ...args], {
        cwd: "/",
        env: { ...process.env, ...Object.fromEntries([mark]) },
        stdio: ["pipe", "pipe", "pipe"],
        detached: true,
      }),
    );
    this.#running.set(number, child);
    for (const stream of ["stdout", "stderr"] as const) {
      const pipe = child[stream];
      pipe.on("error", () => {});
      pipe.on("data", (bytes: Buffer) => {
        if (!output(number, stream, bytes, () => pipe.resume())) pipe.pause();
      });
    }
    child.stdin.on("error", () => {});
    const end = (exitCode: number | null, signal: string | null, message?: string) => {
      if (!this.#running.delete(number)) return;
      const durationMs = performance.now() - beganMs;
      const cause = message === undefined ? "exited" : "spawn-failed";
      exited({ process: number, exitCode, signal, durationMs, cause, ...(message ? { message } : {}) });
    };
    child.once("error", (error) => end(null, null, error.message));
    child.once("close", (exitCode, signal) => end(exitCode, signal));
  }

  /** False if it is no program's. */
  write(number: number, bytes: Buffer): boolean {
    const child = this.#running.get(number);
    child?.stdin?.write(bytes);
    return child !== undefined;
  }

  /** At once, with all that it has started. False if it is no program's. */
  end(number: number): boolean {
    const child = this.#running.get(number);
    if (child?.pid !== undefined) signalAll(treeOf(child.pid), "SIGKILL");
    return child !== undefined;
  }

  /** At once, with all that they have started. */
  destroy(): void {
    signalAll(this.#pids(), "SIGKILL");
  }

  areLeft(): boolean {
    return this.#pids().length > 0;
  }

  #pids(): number[] {
    return [...this.#running.values()].flatMap(({ pid }) => (pid === undefined ? [] : treeOf(pid)));
  }
}
