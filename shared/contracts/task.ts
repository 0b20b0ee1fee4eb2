// What an orchestrator is told about a task: its state, and the view that every reader of the log comes to.
import { z } from "zod";
import { AttemptResult } from "./attempt-result.ts";
import { Priority } from "./deploy-request.ts";
import { ToldCategory } from "./failure.ts";
import { HostId, TaskId } from "./ids.ts";
import { PushView } from "./push.ts";

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
  /** Null if its patch is not to be pushed, or never will be. */
  push: PushView.nullable().default(null),
  failure: z.object({ category: ToldCategory, message: z.string() }).nullable(),
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
