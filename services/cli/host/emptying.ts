// Empties this machine's host of work before its service is touched, and lets it take work again afterwards. What an
// operator has wished for the host stands in the end as it was.
import type { MeshClient } from "../../../shared/client/mesh-client.ts";
import { GONE_MS, untilDrained } from "../fleet/drain-wait.ts";
import { valueOf } from "../outcome.ts";
import type { Progress } from "../terminal/progress.ts";

export interface Emptying {
  empty(): Promise<void>;
  fill(): Promise<void>;
  /** It has been drained and not yet been filled. */
  drainedHere(): boolean;
}

export function emptyingOf(
  withMesh: (work: (mesh: MeshClient) => Promise<void>) => Promise<void>,
  waiting: { hostId: string; deadlineMs: number; progress: Progress; signal: AbortSignal },
): Emptying {
  const { hostId, deadlineMs } = waiting;
  let drained: { wasCordoned: boolean } | null = null;
  return {
    drainedHere: () => drained !== null,
    empty: () =>
      withMesh(async (mesh) => {
        const host = valueOf(await mesh.hosts()).data.find((one) => one.hostId === hostId);
        if (host === undefined || !host.online) return;
        if (host.wish?.kind !== "draining") {
          valueOf(await mesh.drain({ hostId, deadlineMs, reason: "its service is changed" }));
          drained = { wasCordoned: host.wish?.kind === "cordoned" };
        }
        await untilDrained(mesh, { ...waiting, timeoutMs: deadlineMs + GONE_MS });
      }),
    async fill() {
      if (drained === null) return;
      const { wasCordoned } = drained;
      await withMesh(async (mesh) => {
        valueOf(wasCordoned ? await mesh.cordon({ hostId }) : await mesh.uncordon(hostId));
      });
      drained = null;
    },
  };
}
