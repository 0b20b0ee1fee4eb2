// What a running attempt keeps of its agent's session and of its work, so that a later attempt of the task can go on
// from there on another host. It is no artifact: nothing names it but the next attempt, and the task can do without.
import { z } from "zod";
import { RunnerName } from "./deploy-request.ts";
import { HostId } from "./ids.ts";
import { subject } from "./subject.ts";

/** `part` is `record`, or that of a chunk. Each subject keeps its last message alone. */
export const checkpointSubject = subject("mesh.checkpoint.{taskId}.{attempt}.{hostId}.{slot}.{part}");

/** Written in turns, so that the one before stays whole until the next one is. */
export const CheckpointSlot = z.enum(["a", "b"]);
export type CheckpointSlot = z.infer<typeof CheckpointSlot>;

/** Written last: with it the checkpoint is whole. */
export const RECORD_PART = "record";
export const chunkPart = (number: number): string => `chunk-${number}`;

/** Payload bytes of one chunk; the API answers with it as text, below the server's limit of 1 MiB. */
export const CHECKPOINT_CHUNK_BYTES = 512 * 1024;
/** Compressed, both parts together. Of more none is made. */
export const CHECKPOINT_MAX_BYTES = 20 * 1_048_576;
/** Each part, before it is compressed. */
export const CHECKPOINT_PART_MAX_BYTES = 32 * 1_048_576;

/** In the chunks lie the session, and after it the patch, each compressed by gzip; `sha256` is over all of that. */
export const CheckpointRecord = z.object({
  sha: z.string(),
  runner: RunnerName,
  /** Becomes an argument of a program on another host, which must not take it for a flag. */
  sessionId: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9-]{0,99}$/),
  /** How often the model had answered, with all that it had asked for done. */
  turns: z.int().positive(),
  /** As the agent saw it: a session belongs to its folder. */
  workTree: z.string(),
  sessionBytes: z.int().positive(),
  patchBytes: z.int().positive(),
  chunks: z
    .int()
    .positive()
    .max(Math.ceil(CHECKPOINT_MAX_BYTES / CHECKPOINT_CHUNK_BYTES)),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
});
export type CheckpointRecord = z.infer<typeof CheckpointRecord>;

/** Whose it is. */
export const CheckpointView = CheckpointRecord.extend({
  attempt: z.int().positive(),
  hostId: HostId,
  slot: CheckpointSlot,
});
export type CheckpointView = z.infer<typeof CheckpointView>;
