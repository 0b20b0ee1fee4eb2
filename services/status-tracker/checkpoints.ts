// Tells a host what its attempt may go on from, and hands it over in pieces: a host reads no stream itself.
import { checkpointChunk, latestCheckpoint } from "../../shared/bus/checkpoints.ts";
import type { Bus } from "../../shared/bus/connect.ts";
import { factsOfTask } from "../../shared/bus/read.ts";
import { answer, refuse } from "../../shared/contracts/failure.ts";
import { continuable } from "./continuation.ts";
import type { Queries } from "./queries.ts";
import { failedAttempts } from "./story.ts";

export const checkpoints = (bus: Bus): Pick<Queries, "checkpoint" | "checkpointChunk"> => ({
  async checkpoint({ taskId, attempt }) {
    // Only what lies under an attempt that the log knows, by the host that it names, is anybody's to go on from.
    const earlier = continuable(failedAttempts(await factsOfTask(bus, taskId)), attempt);
    for (const { attempt: number, hostId } of earlier) {
      const checkpoint = await latestCheckpoint(bus, { taskId, attempt: number, hostId });
      if (checkpoint !== null) return answer({ checkpoint });
    }
    return answer({ checkpoint: null });
  },
  async checkpointChunk({ slot, chunk, ...owner }) {
    const bytes = await checkpointChunk(bus, owner, slot, chunk);
    return bytes === null
      ? refuse("not_found", "it is no longer kept")
      : answer({ base64: Buffer.from(bytes).toString("base64") });
  },
});
