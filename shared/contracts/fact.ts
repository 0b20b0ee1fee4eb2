// The facts of the log: one subject template for all of them, one body schema for each kind.
import { z } from "zod";
import { AttemptResult } from "./attempt-result.ts";
import { Allowance } from "./budget.ts";
import { DeployRequest, PRIORITIES } from "./deploy-request.ts";
import { Failure, ToldCategory } from "./failure.ts";
import { CONTROL, HostId, TaskId } from "./ids.ts";
import { subject } from "./subject.ts";

/** `speaker` is the host, `control`, or, for a request, its priority. */
export const factSubject = subject("mesh.task.{taskId}.{kind}.{speaker}");

/** Everything about one task: the subject that a guard names. */
export const taskSubjects = (taskId: string): string => `mesh.task.${taskId}.>`;

/** Sequence of the last message about the task that the speaker had folded: what the guard compares. */
const after = z.int().nonnegative();
const attempt = z.int().nonnegative();
const nonce = z.string().min(1).max(64);
const ofAttempt = { after, attempt: z.int().positive(), nonce };

export const FACT_BODIES = {
  requested: DeployRequest.extend({ after: after.default(0) }),
  /** `installation`, `boot` and `counter` are those of the host's latest heartbeat. */
  started: z.object({
    ...ofAttempt,
    installation: z.string(),
    boot: z.int(),
    counter: z.int(),
    /** Why this host, in words, from the scheduler. */
    placement: z.string().optional(),
    /** What its agent may use, from the scheduler: so much is held for it until its end is on the log. */
    allowance: Allowance.optional(),
  }),
  succeeded: z.object({ ...ofAttempt, result: AttemptResult }),
  faulted: z.object({ ...ofAttempt, failure: Failure, result: AttemptResult.optional() }),
  resumed: z.object({ ...ofAttempt, reason: z.string().optional() }),
  /** `failures` is the count after this decision, so that no reader needs the retry table. */
  requeued: z.object({
    after,
    attempt,
    failures: z.int(),
    reason: z.enum(["retry", "lost", "due"]),
    failure: Failure.optional(),
  }),
  /** Waits `delayMs` from the broker's time of this fact. */
  deferred: z.object({
    after,
    attempt,
    failures: z.int(),
    reason: z.enum(["retry", "lost", "quota"]),
    delayMs: z.int().nonnegative(),
    failure: Failure.optional(),
  }),
  cancelRequested: z.object({ after, reason: z.string(), supersededBy: TaskId.optional() }),
  /** `lost`: the attempt's host is gone; else its attempt had ended, or there was none. */
  cancelled: z.object({
    after,
    attempt,
    hostId: HostId.nullable(),
    nonce: nonce.nullable(),
    lost: z.boolean(),
    reason: z.string(),
    supersededBy: TaskId.optional(),
  }),
  failed: z.object({
    after,
    attempt,
    hostId: HostId.nullable(),
    nonce: nonce.nullable(),
    lost: z.boolean(),
    failures: z.int(),
    failure: z.object({ category: ToldCategory, message: z.string() }),
    /** It ended only because no attempts were left: a dead letter. */
    exhausted: z.boolean(),
  }),
  rejected: z.object({ after, message: z.string() }),
} as const;

export type FactKind = keyof typeof FACT_BODIES;
export const FACT_KINDS = Object.keys(FACT_BODIES) as FactKind[];
export type FactBody<Kind extends FactKind> = z.infer<(typeof FACT_BODIES)[Kind]>;

/** A host speaks as itself, the tracker and the API as `control`, a request carries its priority. */
export const SPEAKER_OF: Record<FactKind, "host" | "control" | "priority"> = {
  requested: "priority",
  started: "host",
  succeeded: "host",
  faulted: "host",
  resumed: "host",
  requeued: "control",
  deferred: "control",
  cancelRequested: "control",
  cancelled: "control",
  failed: "control",
  rejected: "control",
};

/** The exact subjects of stream TASKS: what nobody owns is refused at the door. */
export const FACT_WILDCARDS: string[] = FACT_KINDS.flatMap((kind) => {
  const who = SPEAKER_OF[kind];
  if (who === "priority") return PRIORITIES.map((speaker) => factSubject.wildcard({ kind, speaker }));
  return [factSubject.wildcard(who === "control" ? { kind, speaker: CONTROL } : { kind })];
});

/** A fact that somebody wants on the log. */
export type NewFact = {
  [Kind in FactKind]: { taskId: string; kind: Kind; speaker: string; body: FactBody<Kind> };
}[FactKind];

/** A fact as it stands on the log. `timeMs` is the broker's. */
export type Fact = NewFact & { sequence: number; timeMs: number };

/** A message on the log that no reader can decode: it counts as a message, and changes nothing. */
export interface Malformed {
  taskId: string;
  kind: FactKind;
  speaker: string;
  body: null;
  problem: string;
  sequence: number;
  timeMs: number;
}

/** The failure that a fact tells of an attempt; null if it tells of none. */
export function failureOf(fact: Fact): Pick<Failure, "category" | "message"> | null {
  switch (fact.kind) {
    case "faulted":
    case "failed":
      return fact.body.failure;
    case "requeued":
    case "deferred":
      return fact.body.failure ?? null;
    default:
      return null;
  }
}

const decoder = new TextDecoder("utf-8", { fatal: true });

/** Decodes one message of TASKS; null for a subject that is no fact's (the stream refuses those). */
export function decodeFact(
  subjectText: string,
  payload: Uint8Array,
  sequence: number,
  timeMs: number,
): Fact | Malformed | null {
  const parameters = factSubject.parse(subjectText);
  if (parameters === null || !Object.hasOwn(FACT_BODIES, parameters.kind)) return null;
  const { speaker } = parameters;
  const taskId = ownCopy(parameters.taskId);
  const kind = parameters.kind as FactKind;
  const malformed = (problem: string): Malformed => ({
    taskId,
    kind,
    speaker,
    body: null,
    problem,
    sequence,
    timeMs,
  });
  if (!TaskId.safeParse(taskId).success) return malformed("the task id in the subject is not valid");
  if (SPEAKER_OF[kind] === "host" && !HostId.safeParse(speaker).success)
    return malformed("the host id is not valid");
  let json: unknown;
  try {
    json = JSON.parse(decoder.decode(payload));
  } catch {
    return malformed("the payload is no JSON text");
  }
  const body = FACT_BODIES[kind].safeParse(json);
  if (!body.success) return malformed(describeIssues(body.error));
  return { taskId, kind, speaker, body: body.data, sequence, timeMs } as Fact;
}

/** Readers keep ids for long: as a part of the subject each would keep all of it in memory. */
const ownCopy = (text: string): string => decodeURIComponent(text);

/** A zod error in one line: each path with what was expected there. */
export function describeIssues(error: z.ZodError): string {
  return error.issues
    .slice(0, 5)
    .map((issue) => `${issue.path.length > 0 ? `${issue.path.join(".")}: ` : ""}${issue.message}`)
    .join("; ");
}
