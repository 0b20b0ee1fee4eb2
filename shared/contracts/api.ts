// Questions and wishes that anybody with a NATS library may send: `mesh.api.<verb>`, request and reply.
// A reply is the value of the verb, or `{ code, message }`.
import { z } from "zod";
import { CostsReply, CostsRequest } from "./budget.ts";
import { CheckpointSlot, CheckpointView } from "./checkpoint.ts";
import { StrictDeployRequest } from "./deploy-request.ts";
import { FailureCategory, WireError } from "./failure.ts";
import { Heartbeat } from "./heartbeat.ts";
import { HostId, RepositoryName, TaskId } from "./ids.ts";
import { Words } from "./order.ts";
import { Outlook } from "./outlook.ts";
import { Pause, StandingPause } from "./pause.ts";
import { Receipt } from "./receipt.ts";
import { InstanceId, ServiceName, StoppingService } from "./service.ts";
import { subject } from "./subject.ts";
import { TaskState, TaskView } from "./task.ts";
import { HostWish } from "./wish.ts";

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

const deadLetters = {
  /** Only what failed last of this category. */
  category: FailureCategory.optional(),
  repository: RepositoryName.optional(),
};

export const DeadRequest = z.strictObject({
  ...deadLetters,
  limit: z.int().positive().max(100).default(50),
  /** `nextCursor` of the page before. */
  cursor: z.int().positive().optional(),
});

/** One attempt that came to nothing, as the log tells it. */
export const FailedAttempt = z.object({
  attempt: z.int().positive(),
  hostId: HostId,
  startedAt: z.iso.datetime(),
  /** When it faulted, or was called lost. */
  endedAt: z.iso.datetime(),
  category: FailureCategory,
  message: z.string(),
});
export type FailedAttempt = z.infer<typeof FailedAttempt>;

/** A task that failed only because no attempts were left, and that nobody has done again. */
export const DeadLetter = z.object({ task: TaskView, attempts: z.array(FailedAttempt) });
export type DeadLetter = z.infer<typeof DeadLetter>;

/** Dead letters between two places on the log: `next` of an answer says where to go on. */
export const RetryAllRequest = z.strictObject({
  ...deadLetters,
  limit: z.int().positive().max(1_000).default(100),
  /** Only those that failed after this sequence. */
  after: z.int().nonnegative().default(0),
  /** Only those that failed up to this sequence: what fails again meanwhile is not done again for ever. */
  upTo: z.int().nonnegative().optional(),
});

const RetryAllReply = z.object({
  retried: z.array(z.object({ taskId: TaskId, retryOf: TaskId })),
  refused: z.array(z.object({ taskId: TaskId, error: WireError })),
  next: z.object({ after: z.int(), upTo: z.int() }).nullable(),
});

/** A breaker that is not closed. */
export const BreakerView = z.object({
  /** `half-open`: one attempt may begin, or is under way. */
  state: z.enum(["open", "half-open"]),
  since: z.iso.datetime(),
  why: z.string(),
  nextProbeAt: z.iso.datetime(),
  /** The task whose attempt is the probe. */
  probe: TaskId.nullable(),
});
export type BreakerView = z.infer<typeof BreakerView>;

export const HostView = Heartbeat.extend({
  /** Heard of within a lease and its margin. */
  online: z.boolean(),
  lastSeenAt: z.iso.datetime(),
  /** That an operator wants nothing more placed there; null otherwise. */
  wish: HostWish.nullable().default(null),
  /** Null while it is closed: nothing is known against the host. */
  breaker: BreakerView.nullable().default(null),
});
export type HostView = z.infer<typeof HostView>;

export const Explanation = z.object({
  taskId: TaskId,
  state: TaskState,
  /** Place in the queue, 1 first; null when not queued. */
  queuePosition: z.int().nullable(),
  receipt: Receipt.nullable(),
  /** While it is queued: every host's refusal or score, what would make the task run, and when, where known. */
  candidates: Outlook.shape.candidates.default([]),
  wouldRun: Outlook.shape.wouldRun.default(null),
  etaMs: Outlook.shape.etaMs.default(null),
  usual: Outlook.shape.usual,
  /** The whole answer in words. */
  summary: z.string(),
});
export type Explanation = z.infer<typeof Explanation>;

/** One setting of the hot configuration. */
export const SettingView = z.object({
  key: z.string(),
  /** What holds: what was set, or the default. */
  value: z.unknown(),
  default: z.unknown(),
  isSet: z.boolean(),
  /** Why what was set does not hold; null if it does. */
  problem: z.string().nullable(),
  description: z.string(),
});
export type SettingView = z.infer<typeof SettingView>;

const wished = z.object({ hostId: HostId, wish: HostWish.nullable() });
const paused = z.object({ repository: RepositoryName.nullable(), pause: Pause.nullable() });
const about = { hostId: HostId, reason: z.string().max(500).optional() };

const SayRequest = z.strictObject({ taskId: TaskId, ...Words.shape }).check((context) => {
  const { text, interrupt, approval } = context.value;
  if (text !== undefined || interrupt !== undefined || approval !== undefined) return;
  const message = "expected one of text, interrupt and approval";
  context.issues.push({ code: "custom", message, input: context.value });
});

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
  retryAll: { request: RetryAllRequest, reply: RetryAllReply },
  dead: {
    request: DeadRequest,
    reply: z.object({ data: z.array(DeadLetter), nextCursor: z.int().nullable() }),
  },
  /** To the agent of a running task, which hears it once. */
  say: { request: SayRequest, reply: z.object({ taskId: TaskId, attempt: z.int(), hostId: HostId }) },
  /** For a host: what this attempt of the task may go on from; null for nothing. */
  checkpoint: {
    request: z.strictObject({ taskId: TaskId, attempt: z.int().positive() }),
    reply: z.object({ checkpoint: CheckpointView.nullable() }),
  },
  /** Its bytes, one after the other. */
  checkpointChunk: {
    request: z.strictObject({
      taskId: TaskId,
      attempt: z.int().positive(),
      hostId: HostId,
      slot: CheckpointSlot,
      chunk: z.int().nonnegative(),
    }),
    reply: z.object({ base64: z.base64() }),
  },
  explain: { request: z.strictObject({ taskId: TaskId }), reply: Explanation },
  hosts: {
    request: z.strictObject({}),
    /**
     * `pauses`: what operators hold up; `breakers`: of repositories, those that are not closed; `notices`: in words,
     * what the bus lacks room for.
     */
    reply: z.object({
      data: z.array(HostView),
      pauses: z.array(StandingPause).default([]),
      breakers: z.array(BreakerView.extend({ repository: z.string() })).default([]),
      notices: z.array(z.string()).default([]),
    }),
  },
  costs: { request: CostsRequest, reply: CostsReply },
  config: { request: z.strictObject({}), reply: z.object({ data: z.array(SettingView) }) },
  configure: {
    /** Without a value, the setting is at its default again. */
    request: z.strictObject({ key: z.string(), value: z.unknown().optional() }),
    reply: SettingView,
  },
  cordon: { request: z.strictObject(about), reply: wished },
  uncordon: { request: z.strictObject({ hostId: HostId }), reply: wished },
  drain: {
    request: z.strictObject({
      ...about,
      deadlineMs: z.int().nonnegative().max(604_800_000).default(600_000),
    }),
    reply: wished,
  },
  /** Without a repository, of the whole fleet. */
  pause: {
    request: z.strictObject({
      repository: RepositoryName.optional(),
      reason: z.string().max(500).optional(),
    }),
    reply: paused,
  },
  /** Without an instance, all of the service. */
  stop: {
    request: z.strictObject({
      service: ServiceName,
      instance: InstanceId.optional(),
      deadlineMs: z.int().nonnegative().max(604_800_000).optional(),
    }),
    reply: z.object({ stopping: z.array(StoppingService) }),
  },
  resume: { request: z.strictObject({ repository: RepositoryName.optional() }), reply: paused },
} as const;

export type ApiVerb = keyof typeof API;
export const API_VERBS = Object.keys(API) as ApiVerb[];
export type ApiInput<Verb extends ApiVerb> = z.input<(typeof API)[Verb]["request"]>;
export type ApiRequest<Verb extends ApiVerb> = z.output<(typeof API)[Verb]["request"]>;
export type ApiReply<Verb extends ApiVerb> = z.output<(typeof API)[Verb]["reply"]>;
