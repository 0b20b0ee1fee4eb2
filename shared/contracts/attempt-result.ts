// What an attempt came to, as the fact that ends it tells: how its command ended, what its gates said, what its agent did
// by its own account, and the manifest of what it leaves.
import { z } from "zod";
import { AgentUsage } from "./agent-event.ts";
import { Command } from "./deploy-request.ts";
import { HostId } from "./ids.ts";
import { FINDINGS_SHOWN, ToldFinding } from "./task-type.ts";

const Verdict = z.enum(["confirmed", "refuted", "inconclusive"]);

/** In the order in which they are run. The first four are the repository's own, `check` those of a request. */
export type GateName = "setup" | "lint" | "tests" | "build" | "check";

export const CheckResult = z.object({
  /** A `GateName`; a newer host may have others, whose results are no worse for it. */
  gate: z.string().max(63).default("check"),
  command: Command,
  exitCode: z.int().nullable(),
  durationMs: z.number(),
  verdict: Verdict.catch("inconclusive"),
  /** Name of the artifact with its output. */
  log: z.string(),
});
export type CheckResult = z.infer<typeof CheckResult>;

/** Sizes in bytes; `sha256` in hex over the whole artifact, which lies in `chunks` messages. */
export const ArtifactEntry = z.object({
  name: z.string().regex(/^[a-z0-9][a-z0-9-]{0,62}$/),
  size: z.int().nonnegative(),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
  chunks: z.int().nonnegative(),
});
export type ArtifactEntry = z.infer<typeof ArtifactEntry>;

/** What a coding agent did, by its own account: no verdict on its work. */
export const AgentResult = z.object({
  runner: z.string(),
  version: z.string(),
  model: z.string(),
  sessionId: z.string(),
  /** Null where it told nothing, as one that was killed. */
  usage: AgentUsage.nullable(),
  /** Tools that it was not allowed to use. */
  denied: z.int().nonnegative(),
  /** Its last words. */
  summary: z.string().max(4_000),
  /** It has gone on with the session and the work of an earlier attempt, from after so many turns. */
  resumedFrom: z
    .object({ attempt: z.int().positive(), hostId: HostId, turns: z.int().positive() })
    .optional(),
  /** Why it has begun afresh, though an earlier attempt had kept something to go on from. */
  begunAfresh: z.string().max(1_000).optional(),
  /** What it says that it has found, the first of them: advice, and no verdict. */
  findings: z
    .object({ total: z.int().nonnegative(), first: z.array(ToldFinding).max(FINDINGS_SHOWN) })
    .optional(),
});
export type AgentResult = z.infer<typeof AgentResult>;

export const AttemptResult = z.object({
  /** Of the task's command; null when it was ended by a signal, or there was none. */
  exitCode: z.int().nullable(),
  signal: z.string().nullable().optional(),
  /** From the host's acceptance to the end of the last check, ms. */
  durationMs: z.number(),
  phases: z.object({ prepareMs: z.number(), runMs: z.number(), validateMs: z.number() }).partial(),
  /** The most memory that command and checks needed, without file cache; left out where the host cannot measure it. */
  peakMemoryBytes: z.number().nonnegative().optional(),
  checks: z.array(CheckResult),
  agent: AgentResult.optional(),
  artifacts: z.array(ArtifactEntry),
});
export type AttemptResult = z.infer<typeof AttemptResult>;
