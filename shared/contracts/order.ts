// Orders to a host, by request and reply. All are idempotent: the log decides, an order only asks.
import { z } from "zod";
import { Allowance } from "./budget.ts";
import { DeployRequest } from "./deploy-request.ts";
import { HostId, TaskId } from "./ids.ts";
import { subject } from "./subject.ts";

export const orderSubject = subject("mesh.host.{hostId}.{order}");

/** Asks the host to begin attempt `attempt` of the task, on what the log said up to `after`: its request, at least. */
export const RunOrder = z.object({
  taskId: TaskId,
  attempt: z.int().positive(),
  after: z.int().positive(),
  request: DeployRequest,
  /** What the scheduler counts on that it uses; without, it is what the request asks for. */
  memoryBytes: z.int().positive().optional(),
  /** What its agent may use; without, what the request says. */
  allowance: Allowance.optional(),
  placement: z.string().optional(),
});
export type RunOrder = z.infer<typeof RunOrder>;

/** Answered only after the server has stored `started`, or with the reason why there will be none. */
export const RunReply = z.discriminatedUnion("outcome", [
  z.object({ outcome: z.literal("started"), sequence: z.int() }),
  z.object({
    outcome: z.literal("refused"),
    /** One that only a newer host knows is as good as that it is not ready. */
    reason: z
      .enum([
        "full",
        "memory",
        "cpu",
        "disk",
        "runner",
        "labels",
        "draining",
        "withheld",
        "not-ready",
        "policy",
        "superseded",
        "unknown",
      ])
      .catch("not-ready"),
    message: z.string(),
  }),
]);
export type RunReply = z.infer<typeof RunReply>;

/** Asks the host to end the attempt; its `faulted` follows on the log. */
export const StopOrder = z.object({
  taskId: TaskId,
  attempt: z.int().positive(),
  /** Stopped it is, whatever a newer tracker means by it, and nothing is counted against the task. */
  reason: z.enum(["cancelled", "timeout", "preempted"]).catch("preempted"),
});
export type StopOrder = z.infer<typeof StopOrder>;
export const StopReply = z.object({ outcome: z.enum(["stopping", "not-here"]) });
export type StopReply = z.infer<typeof StopReply>;

/** Tells the host whether it drains: if so it begins nothing new. Repeated until its heartbeat says the same. */
export const DrainOrder = z.object({ draining: z.boolean() });
export type DrainOrder = z.infer<typeof DrainOrder>;
/** What its next heartbeat will say. */
export const DrainReply = z.object({ draining: z.boolean() });
export type DrainReply = z.infer<typeof DrainReply>;

/** What somebody says to what runs: a message, that it is to leave what it is doing, whether a tool may be used. */
export const Words = z.object({
  text: z.string().min(1).max(65_536).optional(),
  interrupt: z.literal(true).optional(),
  /** `id` is that of the `approval` event. */
  approval: z.strictObject({ id: z.string().min(1).max(200), allow: z.boolean() }).optional(),
});
export const SayOrder = Words.extend({ taskId: TaskId, attempt: z.int().positive() });
export type SayOrder = z.infer<typeof SayOrder>;
/** `not-here`: nothing of it runs. `not-heard`: it takes no messages (any more), or nobody waits for the approval. */
export const SayReply = z.object({ outcome: z.enum(["said", "not-here", "not-heard"]) });
export type SayReply = z.infer<typeof SayReply>;

/** Who speaks as this host? Answered by every live agent of that id, so that a second one notices. */
export const WhoOrder = z.object({ installation: z.string(), boot: z.int() });
export type WhoOrder = z.infer<typeof WhoOrder>;
export const WhoReply = z.object({
  hostId: HostId,
  installation: z.string(),
  boot: z.int(),
  since: z.iso.datetime(),
});
export type WhoReply = z.infer<typeof WhoReply>;
