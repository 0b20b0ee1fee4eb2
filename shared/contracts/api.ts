// Questions and wishes that anybody with a NATS library may send: `mesh.api.<verb>`, request and reply.
// A reply is the value of the verb, or `{ code, message }`.
import { z } from "zod";
import { Heartbeat } from "./heartbeat.ts";
import { RepositoryName, TaskId } from "./ids.ts";
import { Receipt } from "./receipt.ts";
import { subject } from "./subject.ts";
import { StrictDeployRequest, TaskState, TaskView } from "./task.ts";

export const apiSubject = subject("mesh.api.{verb}");

const PullRequest = z.strictObject({ repository: RepositoryName, prNumber: z.int().positive() });

/** One of: a task, every unfinished task of a pull request, or of a repository. */
export const CancelRequest = z.union(
  [
    z.strictObject({ taskId: TaskId, reason: z.string().max(500).optional() }),
    PullRequest.extend({
      reason: z.string().max(500).optional(),
      /** Only tasks of this state of the pull request or an older one. */
      updatedAt: z.iso.datetime({ offset: true }).optional(),
    }),
    z.strictObject({ repository: RepositoryName, reason: z.string().max(500).optional() }),
  ],
  'expected {"taskId"}, {"repository", "prNumber"} or {"repository"}',
);
export type CancelRequest = z.infer<typeof CancelRequest>;

export const ListRequest = z.strictObject({
  state: TaskState.optional(),
  repository: RepositoryName.optional(),
  prNumber: z.int().positive().optional(),
  limit: z.int().positive().max(1_000).default(100),
  /** `nextCursor` of the page before. */
  cursor: z.int().positive().optional(),
});

export const HostView = Heartbeat.extend({
  /** Heard of within a lease and its margin. */
  online: z.boolean(),
  lastSeenAt: z.iso.datetime(),
});
export type HostView = z.infer<typeof HostView>;

export const Explanation = z.object({
  taskId: TaskId,
  state: TaskState,
  /** Place in the queue, 1 first; null when not queued. */
  queuePosition: z.int().nullable(),
  receipt: Receipt.nullable(),
  /** The whole answer in words. */
  summary: z.string(),
});
export type Explanation = z.infer<typeof Explanation>;

export const API = {
  submit: { request: StrictDeployRequest, reply: TaskView },
  get: {
    /** `minSequence`: answer only when the log has been followed so far for this task. */
    request: z.strictObject({ taskId: TaskId, minSequence: z.int().nonnegative().optional() }),
    reply: TaskView,
  },
  list: {
    request: ListRequest,
    reply: z.object({ data: z.array(TaskView), nextCursor: z.int().nullable() }),
  },
  cancel: { request: CancelRequest, reply: z.object({ cancelled: z.array(TaskId) }) },
  retry: { request: z.strictObject({ taskId: TaskId }), reply: TaskView },
  explain: { request: z.strictObject({ taskId: TaskId }), reply: Explanation },
  hosts: { request: z.strictObject({}), reply: z.object({ data: z.array(HostView) }) },
} as const;

export type ApiVerb = keyof typeof API;
export const API_VERBS = Object.keys(API) as ApiVerb[];
export type ApiInput<Verb extends ApiVerb> = z.input<(typeof API)[Verb]["request"]>;
export type ApiRequest<Verb extends ApiVerb> = z.output<(typeof API)[Verb]["request"]>;
export type ApiReply<Verb extends ApiVerb> = z.output<(typeof API)[Verb]["reply"]>;
