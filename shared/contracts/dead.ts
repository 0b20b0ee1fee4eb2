// Messages of the log that nobody can decode, set aside with the reason, keyed by their sequence.
import { z } from "zod";
import { subject } from "./subject.ts";

export const deadSubject = subject("mesh.dead.{sequence}");

export const DeadMessage = z.object({
  sequence: z.int(),
  subject: z.string(),
  problem: z.string(),
  /** The payload's first 64 KiB, base64. */
  payload: z.string(),
});
export type DeadMessage = z.infer<typeof DeadMessage>;
