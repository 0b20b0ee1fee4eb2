// What an attempt says while it works: phases and output, in chunks. Losing the last second is no harm.
import { z } from "zod";
import { AgentEvent } from "./agent-event.ts";
import { subject } from "./subject.ts";

export const logSubject = subject("mesh.log.{taskId}.{attempt}.{hostId}");

/**
 * `text` is UTF-8, cut anywhere; a `phase` chunk's text is one sentence, an `agent` chunk's what its event says to a
 * person, in whole lines or not at all.
 */
export const LogChunk = z.object({
  at: z.iso.datetime(),
  source: z.enum(["phase", "stdout", "stderr", "check", "agent"]),
  text: z.string(),
  /** Of a `phase` chunk. One that only a newer host knows is left out: what it says stands in the text. */
  phase: z
    .enum(["preparing", "running", "validating", "collecting", "frozen", "resumed", "truncated", "overtaken"])
    .optional()
    .catch(undefined),
  /** Of an `agent` chunk; likewise. */
  event: AgentEvent.optional().catch(undefined),
});
export type LogChunk = z.infer<typeof LogChunk>;
