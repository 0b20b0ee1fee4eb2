// All processes of one attempt, whatever they have become since one of its commands began them: found, stopped, and
// killed to the last, by the control group where there is one.
import { setTimeout as delay } from "node:timers/promises";
import type { Cgroup } from "./cgroup.ts";
import { markedWith, signalAll, signalEach } from "./processes.ts";
import type { RunningCommand } from "./running-command.ts";
import { commandMark } from "./state.ts";

const LEFT_POLL_MS = 5;

export class AttemptTree {
  readonly #cgroup: Cgroup;
  readonly #supervisor: string;
  readonly #running: ReadonlyMap<number, RunningCommand>;

  constructor(cgroup: Cgroup, supervisor: string, running: ReadonlyMap<number, RunningCommand>) {
    this.#cgroup = cgroup;
    this.#supervisor = supervisor;
    this.#running = running;
  }

  pids(): number[] {
    const trees = [...this.#running.values()].flatMap((command) => [
      ...command.tree(),
      ...this.#strays(command),
    ]);
    return [...new Set([...trees, ...this.#cgroup.members()])];
  }

  /** What the command has started, as far as it is no longer below it; the command itself may be gone. */
  #strays(command: RunningCommand): number[] {
    // Beside others it is known by its mark alone: what one of them starts in this moment must not be taken for its own.
    const isAlone = [...this.#running.values()].every((other) => other === command);
    return isAlone && this.#cgroup.procsFiles.length > 0
      ? this.#cgroup.members()
      : markedWith(commandMark(this.#supervisor, command.exec.process).join("="));
  }

  setFrozen(frozen: boolean): void {
    if (this.#cgroup.freeze) return this.#cgroup.freeze(frozen);
    if (!frozen) return signalAll(this.pids(), "SIGCONT");
    signalEach(() => this.pids(), "SIGSTOP");
  }

  /** A frozen process takes not even SIGKILL before it thaws (control groups, version 1). */
  thawDead(): void {
    this.#cgroup.freeze?.(false);
  }

  /** Kills the command with all that it has started. */
  destroy(command: RunningCommand): void {
    // Alone in its group, it goes in one stroke, however fast it forks.
    if (this.#running.size === 1 && this.#cgroup.kill) return this.#cgroup.kill();
    // The namespace's init goes with the first of these, and takes all others along.
    signalAll(command.tree(), "SIGKILL");
    this.destroyStrays(command);
  }

  /** What the command left behind. */
  destroyStrays(command: RunningCommand): void {
    signalEach(() => this.#strays(command), "SIGKILL");
  }

  /** An end is told once it is one: a namespace takes a moment to fall, and so does a daemon that is killed. */
  async untilNothingIsLeft(command: RunningCommand): Promise<void> {
    for (let left = this.#strays(command); left.length > 0; left = this.#strays(command)) {
      signalAll(left, "SIGKILL");
      if (this.#running.size === 1) this.thawDead();
      await delay(LEFT_POLL_MS);
    }
  }
}
