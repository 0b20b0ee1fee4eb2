// What an attempt says while it works: phases and output, in chunks. Losing the last second is no harm.
import { z } from "zod";
import { subject } from "./subject.ts";

export const logSubject = subject("mesh.log.{taskId}.{attempt}.{hostId}");

/** `text` is UTF-8, cut anywhere; a `phase` chunk's text is one sentence. */
export const LogChunk = z.object({
  at: z.iso.datetime(),
  source: z.enum(["phase", "stdout", "stderr", "check"]),
  text: z.string(),
  /** Of a `phase` chunk. */
  phase: z
    .enum(["preparing", "running", "validating", "collecting", "frozen", "resumed", "truncated"])
    .optional(),
});
export type LogChunk = z.infer<typeof LogChunk>;
