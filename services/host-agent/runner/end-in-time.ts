// The end of an agent whose work is over: the end of its stdin is its own, and who does not take that is told harder.
import type { GuestProcess } from "../supervisor/supervisor-link.ts";

const GRACE_MS = 5_000;

export function endInTime(process: GuestProcess): void {
  process.endStdin();
  const timers = (["SIGTERM", "SIGKILL"] as const).map((signal, index) =>
    setTimeout(() => process.signal(signal), (index + 1) * GRACE_MS),
  );
  void process.finished.then(() => {
    for (const timer of timers) clearTimeout(timer);
  });
}
