// Puts what an attempt leaves behind onto the bus, in chunks under its own attempt, with size and SHA-256 for
// the manifest. It tries until the bus has it, or the attempt is given up.
import { createHash } from "node:crypto";
import { open } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import type { Bus } from "../../../shared/bus/connect.ts";
import { ARTIFACT_CHUNK_BYTES, artifactSubject } from "../../../shared/contracts/artifact.ts";
import type { ArtifactEntry } from "../../../shared/contracts/attempt-result.ts";

export interface ArtifactOwner {
  taskId: string;
  attempt: number;
  hostId: string;
}

const RETRY_MS = 1_000;
const ANSWER_MS = 5_000;

export async function publishArtifact(
  bus: Bus,
  owner: ArtifactOwner,
  name: string,
  file: string,
  signal: AbortSignal,
): Promise<ArtifactEntry> {
  const subject = artifactSubject.build({ ...owner, attempt: String(owner.attempt), name });
  const hash = createHash("sha256");
  let size = 0;
  let chunks = 0;
  await using handle = await open(file);
  const buffer = Buffer.alloc(ARTIFACT_CHUNK_BYTES);
  for (;;) {
    const { bytesRead } = await handle.read(buffer, 0, buffer.length);
    if (bytesRead === 0) return { name, size, sha256: hash.digest("hex"), chunks };
    const chunk = buffer.subarray(0, bytesRead);
    await publishChunk(bus, subject, chunks, chunk, signal);
    hash.update(chunk);
    size += bytesRead;
    chunks++;
  }
}

/** A chunk whose answer got lost is sent again as it was: the server knows it by its id. */
async function publishChunk(bus: Bus, subject: string, number: number, chunk: Buffer, signal: AbortSignal) {
  for (;;) {
    signal.throwIfAborted();
    try {
      await bus.js.publish(subject, chunk, { msgID: `${subject}.${number}`, timeout: ANSWER_MS });
      return;
    } catch {
      await delay(RETRY_MS, undefined, { signal });
    }
  }
}
