// A log chunk as clients see it: with its place in the stream, the attempt and the host that said it.
import { z } from "zod";
import { HostId } from "../contracts/ids.ts";
import { LogChunk, logSubject } from "../contracts/log.ts";

/** `sequence` is the log stream's own, not that of the facts. */
export const TaskLog = LogChunk.extend({
  sequence: z.int().positive(),
  attempt: z.int().positive(),
  hostId: HostId,
});
export type TaskLog = z.infer<typeof TaskLog>;

/** Reads one message of stream LOGS; null for one that nobody can read. */
export function decodeLog(subject: string, payload: Uint8Array, sequence: number): TaskLog | null {
  const parameters = logSubject.parse(subject);
  if (parameters === null) return null;
  let chunk: unknown;
  try {
    chunk = JSON.parse(new TextDecoder().decode(payload));
  } catch {
    return null;
  }
  if (typeof chunk !== "object" || chunk === null) return null;
  const { attempt, hostId } = parameters;
  const log = TaskLog.safeParse({ ...chunk, sequence, attempt: Number(attempt), hostId });
  return log.success ? log.data : null;
}
