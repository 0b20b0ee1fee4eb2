// Signals, and the end of the launcher that started us, as one thing that verbs can wait for. A verb that does not
// come to its end soon after is ended here; it must never be possible that Ctrl-C does nothing.
import { constants } from "node:os";

/** Thrown by what waits when it is interrupted: 128 + the signal's number. */
export class Interrupted extends Error {
  readonly exitCode: number;
  constructor(signal: NodeJS.Signals) {
    super(`interrupted by ${signal}`);
    this.exitCode = 128 + (constants.signals[signal] ?? 0);
  }
}

const controller = new AbortController();
let deadlineMs = 3_000;

/** Aborts with an `Interrupted` at the first signal. */
export const interruption: AbortSignal = controller.signal;

/** For verbs that have much to release: how long they may take after a signal before they are ended. */
export function allowForStop(ms: number): void {
  deadlineMs = ms;
}

export function listenForInterruption(): void {
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => interrupt(signal));
  if (!process.connected || process.env.MESH_LAUNCHER_PID !== String(process.ppid)) return;
  delete process.env.MESH_LAUNCHER_PID;
  process.once("disconnect", () => interrupt("SIGTERM"));
  // Listening for it would otherwise keep this process alive.
  process.channel?.unref();
}

function interrupt(signal: NodeJS.Signals): void {
  if (controller.signal.aborted) return;
  const interrupted = new Interrupted(signal);
  controller.abort(interrupted);
  setTimeout(() => process.exit(interrupted.exitCode), deadlineMs).unref();
}
