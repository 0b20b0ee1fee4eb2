// What an earlier attempt of the task has kept to go on from: asked for at the status tracker, fetched, and taken only
// if it is whole and belongs to this very work.
import { createHash } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { gunzip } from "node:zlib";
import { askApi } from "../../../shared/bus/ask.ts";
import type { Bus } from "../../../shared/bus/connect.ts";
import type { ApiInput, ApiReply, ApiVerb } from "../../../shared/contracts/api.ts";
import { CHECKPOINT_PART_MAX_BYTES, type CheckpointView } from "../../../shared/contracts/checkpoint.ts";

/** What there is to go on from. */
export interface Kept {
  attempt: number;
  hostId: string;
  sessionId: string;
  turns: number;
  session: Buffer;
  patch: Buffer;
}

/** A tracker that begins anew reads the whole log first; to begin the agent anew would cost more than to wait for that. */
const WAIT_MS = 30_000;
const PAUSE_MS = 500;

const decompress = promisify(gunzip);

class Unusable extends Error {}

/** Null if there is nothing; `problem`: there may be, and it cannot be had. */
export async function findKept(
  bus: Bus,
  { taskId, attempt }: { taskId: string; attempt: number },
  own: Pick<CheckpointView, "sha" | "runner" | "workTree">,
  signal: AbortSignal,
): Promise<{ ok: true; kept: Kept | null } | { ok: false; problem: string }> {
  if (attempt === 1) return { ok: true, kept: null };
  try {
    const { checkpoint } = await ask("checkpoint", { taskId, attempt });
    if (checkpoint === null) return { ok: true, kept: null };
    for (const name of ["sha", "runner", "workTree"] as const)
      if (checkpoint[name] !== own[name])
        throw new Unusable(`what was kept is of ${name} ${checkpoint[name]}, not ${own[name]}`);
    const bytes = await fetchAll(checkpoint);
    const options = { maxOutputLength: CHECKPOINT_PART_MAX_BYTES };
    const [session, patch] = await Promise.all([
      decompress(bytes.subarray(0, checkpoint.sessionBytes), options),
      decompress(bytes.subarray(checkpoint.sessionBytes), options),
    ]);
    const { attempt: earlier, hostId, sessionId, turns } = checkpoint;
    return { ok: true, kept: { attempt: earlier, hostId, sessionId, turns, session, patch } };
  } catch (error) {
    signal.throwIfAborted();
    return { ok: false, problem: error instanceof Error ? error.message : String(error) };
  }

  async function fetchAll({ attempt: earlier, hostId, slot, ...record }: CheckpointView): Promise<Buffer> {
    const chunks: Buffer[] = [];
    for (let chunk = 0; chunk < record.chunks; chunk++) {
      const { base64 } = await ask("checkpointChunk", { taskId, attempt: earlier, hostId, slot, chunk });
      chunks.push(Buffer.from(base64, "base64"));
    }
    const bytes = Buffer.concat(chunks);
    if (createHash("sha256").update(bytes).digest("hex") !== record.sha256)
      throw new Unusable("what is kept of it is not what its record says");
    return bytes;
  }

  async function ask<Verb extends ApiVerb>(verb: Verb, request: ApiInput<Verb>): Promise<ApiReply<Verb>> {
    for (const endMs = performance.now() + WAIT_MS; ; await delay(PAUSE_MS, undefined, { signal })) {
      const answered = await askApi(bus, verb, request);
      signal.throwIfAborted();
      if (answered.ok) return answered.value;
      if (answered.error.code !== "unavailable" || performance.now() > endMs)
        throw new Unusable(answered.error.message);
    }
  }
}
