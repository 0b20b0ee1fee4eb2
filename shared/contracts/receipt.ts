// The scheduler's latest decision about a task: where it went, or why nowhere.
import { z } from "zod";
import { HostId, TaskId } from "./ids.ts";
import { subject } from "./subject.ts";

export const receiptSubject = subject("mesh.receipt.{taskId}");

export const Receipt = z.object({
  taskId: TaskId,
  at: z.iso.datetime(),
  policy: z.string(),
  /** The host that was asked and began; null while none could. */
  hostId: HostId.nullable(),
  attempt: z.int(),
  /** One sentence for a person. */
  summary: z.string(),
  hosts: z.int(),
  feasible: z.int(),
  /** The memory that is counted for it, and where that number comes from. */
  memory: z.object({ bytes: z.number(), why: z.string() }).optional(),
  /** How many hosts failed which check. */
  refusals: z.record(z.string(), z.int()),
  /** Feasible hosts that were put last because an attempt of the task has lately failed there. */
  penalized: z.array(HostId).optional(),
  /** Score terms of the chosen host. */
  score: z.record(z.string(), z.number()).optional(),
});
export type Receipt = z.infer<typeof Receipt>;
