// What an orchestrator asks for, and what it is told about it: the deploy request and the view of a task.
import { z } from "zod";
import { branchProblem, cloneUrlProblem } from "./clone-url.ts";
import { Constraint } from "./constraint.ts";
import { FailureCategory } from "./failure.ts";
import { HostId, RepositoryName, TaskId } from "./ids.ts";

export const PRIORITIES = ["high", "normal", "low"] as const;
export const Priority = z.enum(PRIORITIES);
export type Priority = z.infer<typeof Priority>;

/** A string is run by `sh -c`; a list is a program and its arguments, run as they are. */
export const Command = z.union(
  [z.string().min(1).max(32_768), z.array(z.string().max(32_768)).min(1).max(1_000)],
  'expected a command: a string for "sh -c", or a list of program and arguments',
);
export type Command = z.infer<typeof Command>;

const SHA = z
  .string()
  .regex(/^([0-9a-f]{40}|[0-9a-f]{64})$/, "expected a full commit SHA (40 or 64 hex digits)");
const BYTES = z.int().positive();
const ENVIRONMENT_NAME = z
  .string()
  .regex(/^[A-Za-z_][A-Za-z0-9_]{0,254}$/, "expected an environment variable's name");

/** The defaults a request without these fields gets; every reader uses the same. */
export const REQUEST_DEFAULTS = {
  timeoutMs: 1_800_000,
  maxAttempts: 3,
  memoryBytes: 536_870_912,
  memoryLimitBytes: 4_294_967_296,
  cpus: 1,
};

const text = (maximum: number, problem: (value: string) => string | null) =>
  z
    .string()
    .min(1)
    .max(maximum)
    .check((context) => {
      const found = problem(context.value);
      if (found) context.issues.push({ code: "custom", message: found, input: context.value });
    });

const fields = {
  type: z.literal("pr_deployment"),
  /** Chosen by the caller to make the call idempotent; the mesh chooses one otherwise. */
  taskId: TaskId.optional(),
  repository: RepositoryName,
  branch: text(1_024, branchProblem),
  sha: SHA,
  /** Whether a host clones `file://` is for that host to say; the form alone is judged here. */
  cloneUrl: text(2_048, (url) => cloneUrlProblem(url, { allowFileClones: true })),
  prNumber: z.int().positive().optional(),
  priority: Priority.optional(),
  /** Labels that the host must carry. */
  labels: z.record(z.string().min(1).max(63), z.string().max(63)).optional(),
  /** What else its labels must be. */
  constraints: z.array(Constraint).max(32).optional(),
  /** What the task is expected to use, for placement. */
  resources: z
    .strictObject({ memoryBytes: BYTES.optional(), cpus: z.number().positive().optional() })
    .optional(),
  /** What it may never exceed. */
  limits: z.strictObject({ memoryBytes: BYTES.optional() }).optional(),
  timeoutMs: z.int().positive().max(86_400_000).optional(),
  maxAttempts: z.int().positive().max(100).optional(),
  run: z
    .strictObject({ command: Command, env: z.record(ENVIRONMENT_NAME, z.string().max(32_768)).optional() })
    .optional(),
  checks: z.array(Command).max(100).optional(),
  /** `false`: this task cancels no older one of its pull request. */
  supersede: z.boolean().optional(),
  /** The pull request comes from a fork: work of strangers. */
  fork: z.boolean().optional(),
  /** When the forge last changed the pull request, ISO 8601: tells a late webhook from a new one. */
  pullRequestUpdatedAt: z.iso.datetime({ offset: true }).optional(),
  /** The ended task that this one does again. */
  retryOf: TaskId.optional(),
};

/** A request as a person or an orchestrator writes it: an unknown field is a typing error. */
export const StrictDeployRequest = z.strictObject(fields);
/** The same between services and on the log: what a newer version added is passed over. */
export const DeployRequest = z.object({
  ...fields,
  resources: z.object(fields.resources.unwrap().shape).optional(),
  limits: z.object(fields.limits.unwrap().shape).optional(),
  run: z.object(fields.run.unwrap().shape).optional(),
});
export type DeployRequest = z.infer<typeof DeployRequest>;

const Verdict = z.enum(["confirmed", "refuted", "inconclusive"]);

export const CheckResult = z.object({
  command: Command,
  exitCode: z.int().nullable(),
  durationMs: z.number(),
  verdict: Verdict,
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

export const AttemptResult = z.object({
  /** Of the task's command; null when it was ended by a signal, or there was none. */
  exitCode: z.int().nullable(),
  signal: z.string().nullable().optional(),
  /** From the host's acceptance to the end of the last check, ms. */
  durationMs: z.number(),
  phases: z.object({ prepareMs: z.number(), runMs: z.number(), validateMs: z.number() }).partial(),
  checks: z.array(CheckResult),
  artifacts: z.array(ArtifactEntry),
});
export type AttemptResult = z.infer<typeof AttemptResult>;

export const TaskState = z.enum([
  "unknown",
  "queued",
  "waiting",
  "running",
  "faulted",
  "cancelling",
  "succeeded",
  "failed",
  "cancelled",
]);
export type TaskState = z.infer<typeof TaskState>;

const WHEN = z.iso.datetime().nullable();

/** A task as `GET /v1/tasks/:id` and `mesh.api.get` tell it. Times are the broker's, ISO 8601. */
export const TaskView = z.object({
  taskId: TaskId,
  type: z.string(),
  state: TaskState,
  priority: Priority,
  /** Number of the latest attempt that a host began; 0 before the first. */
  attempt: z.int(),
  /** Host and nonce of that attempt. */
  hostId: HostId.nullable(),
  nonce: z.string().nullable(),
  /** That attempt may act: it has not faulted and was not lost. */
  active: z.boolean(),
  failures: z.int(),
  maxAttempts: z.int(),
  repository: z.string(),
  branch: z.string(),
  sha: z.string(),
  prNumber: z.int().nullable(),
  /** Of the attempt that ended last. */
  result: AttemptResult.nullable(),
  failure: z.object({ category: FailureCategory, message: z.string() }).nullable(),
  /** Why it waits, was cancelled, or was superseded, in words. */
  reason: z.string().nullable(),
  supersededBy: TaskId.nullable(),
  retryOf: TaskId.nullable(),
  requestedAt: WHEN,
  startedAt: WHEN,
  waitingUntil: WHEN,
  endedAt: WHEN,
  /** Sequence on the log of the last fact about it: what a guarded append must name. */
  lastSequence: z.int(),
});
export type TaskView = z.infer<typeof TaskView>;
