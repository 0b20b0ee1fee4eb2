// Waits until nothing runs any more on a host that is being drained, and tells how far that is. It changes nothing:
// whoever stops waiting leaves the drain as it stands.
import { setTimeout as delay } from "node:timers/promises";
import type { MeshClient } from "../../../shared/client/mesh-client.ts";
import { Failure, valueOf } from "../outcome.ts";
import type { Progress } from "../terminal/progress.ts";
import { formatDuration } from "../terminal/quantities.ts";

const LOOK_MS = 300;
/** After its deadline, what runs on a host is stopped, and has so long to be gone, ms. */
export const GONE_MS = 30_000;

export interface Waiting {
  hostId: string;
  timeoutMs: number;
  progress: Progress;
  signal: AbortSignal;
}

/** Throws a `Failure` when that takes too long, or the drain is taken back. */
export async function untilDrained(
  mesh: Pick<MeshClient, "hosts">,
  { hostId, timeoutMs, progress, signal }: Waiting,
): Promise<void> {
  const deadlineMs = performance.now() + timeoutMs;
  let hasBegun = false;
  let told = "";
  for (;;) {
    const host = valueOf(await mesh.hosts()).data.find((one) => one.hostId === hostId);
    // One that is away has lost what it ran, or frozen it; one that has left runs nothing.
    if (host === undefined || !host.online || (host.draining && host.attempts.length === 0)) return;
    // The tracker that answers may hear of the drain a moment later than the one that took it.
    if (hasBegun && host.wish?.kind !== "draining") throw new Failure(`${hostId} is drained no longer`);
    hasBegun ||= host.wish?.kind === "draining";
    const leftMs = deadlineMs - performance.now();
    const running = host.attempts.map(({ taskId }) => taskId).join(", ");
    if (leftMs <= 0)
      throw new Failure(
        `${hostId} is not empty after ${formatDuration(timeoutMs)}: ${running || "it has not answered yet"}`,
      );
    if (running !== told && !progress.live) progress.say(`${hostId} runs ${running || "nothing any more"}`);
    told = running;
    progress.draw(`${hostId} runs ${running || "nothing"} · ${formatDuration(leftMs)} left`);
    await delay(LOOK_MS, undefined, { signal });
  }
}
