// Waiting for a state, with a deadline, where there may be no test runner to ask for it.
import { setTimeout as delay } from "node:timers/promises";

/** Long: under emulation, on a machine that has other things to do, a start alone takes seconds. */
const DEADLINE_MS = 180_000;
const INTERVAL_MS = 20;

/** Resolves with the first value that is neither null nor false; rejects when none came in time. */
export async function until<Value>(
  look: () => Value | null | false,
  deadlineMs = DEADLINE_MS,
): Promise<Value> {
  const waiting = new Error(`nothing came of it within ${deadlineMs} ms`);
  const endMs = performance.now() + deadlineMs;
  for (;;) {
    const value = look();
    if (value !== null && value !== false) return value;
    if (performance.now() > endMs) throw waiting;
    await delay(INTERVAL_MS);
  }
}
