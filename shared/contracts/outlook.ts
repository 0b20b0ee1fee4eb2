// What the scheduler answers who asks about a queued task: every host with its refusal or its score, and what would
// make the task run. The receipt on the bus is the lean record of the same decision.
import { z } from "zod";
import { HostId, TaskId } from "./ids.ts";
import { Receipt } from "./receipt.ts";
import { subject } from "./subject.ts";

/** The scheduler that leads answers. */
export const outlookSubject = subject("mesh.scheduler.outlook");

export const OutlookRequest = z.object({ taskId: TaskId });

export const Candidate = z.object({
  hostId: HostId,
  /** The check that it failed; null if it could take the task now. */
  refusal: z.string().nullable(),
  /** The same for a person. */
  words: z.string(),
  /** Terms of its score, with their weighted sum as `total`; null where it is refused. */
  score: z.record(z.string(), z.number()).nullable(),
});
export type Candidate = z.infer<typeof Candidate>;

/** Each was enough for that share of the attempts. */
const Quantiles = z.object({ attempts: z.int().positive(), p50: z.number(), p95: z.number() });

/** How the latest attempts of one repository, task type and runner went that came to an end of their own. */
export const Usual = z.object({
  durationMs: Quantiles,
  /** Null where no host could measure it. */
  memoryBytes: Quantiles.nullable(),
  /** Null where no agent ran. */
  costUsd: Quantiles.nullable(),
});
export type Usual = z.infer<typeof Usual>;

/** Hosts that one answer lists; those that could take the task first. */
export const CANDIDATES_MAX = 200;

export const Outlook = z.object({
  receipt: Receipt,
  /** Place in line, 1 first, by what is queued now. */
  position: z.int().positive(),
  candidates: z.array(Candidate),
  /** What would make it run, in words; null where nothing is in its way. */
  wouldRun: z.string().nullable(),
  /** Until then, ms, by how long attempts of the same repositories took; null where that is not known. */
  etaMs: z.number().nonnegative().nullable(),
  /** What is known of its like; null where nothing is. */
  usual: Usual.nullable().default(null),
});
export type Outlook = z.infer<typeof Outlook>;
