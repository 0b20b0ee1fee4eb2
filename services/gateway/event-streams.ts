// What the event streams tell: all facts, the facts of one task up to its end, the log of one task. Each
// continues after any sequence without a gap or a repeat, and none of them says what was not on a stream.
import { setTimeout as delay } from "node:timers/promises";
import type { Bus } from "../../shared/bus/connect.ts";
import { readPush } from "../../shared/bus/pushes.ts";
import { factsOfTask, lastMessage } from "../../shared/bus/read.ts";
import { LOGS, PUSHES, TASKS } from "../../shared/bus/streams.ts";
import { tail } from "../../shared/bus/tail.ts";
import {
  decodeFact,
  describeIssues,
  type Fact,
  factSubject,
  type Malformed,
  taskSubjects,
} from "../../shared/contracts/fact.ts";
import { type Answer, answer, refuse } from "../../shared/contracts/failure.ts";
import { LogChunk, logSubject } from "../../shared/contracts/log.ts";
import { pushSubject } from "../../shared/contracts/push.ts";
import { fold } from "../../shared/lifecycle/fold.ts";
import { isEnd, type Lifecycle, UNKNOWN } from "../../shared/lifecycle/table.ts";
import type { StreamEvent } from "./sse.ts";

type Events = AsyncIterable<StreamEvent>;

/** How long after a task's end its host's last chunks may still be on their way into the stream. */
const LOG_GRACE_MS = 500;

/** Facts of all tasks after `after`; from now on if that is null. */
export async function allFacts(bus: Bus, after: number | null, signal: AbortSignal): Promise<Answer<Events>> {
  const subjects = factSubject.wildcard();
  const from = after ?? (await lastMessage(bus, TASKS, subjects))?.sequence ?? 0;
  async function* events(): AsyncGenerator<StreamEvent> {
    // A client that is cut off before its first event then continues from here.
    if (after === null) yield { id: from };
    for await (const fact of facts(bus, subjects, from + 1, signal)) yield factEvent(fact);
  }
  return answer(events());
}

/** Facts of one task after `after`, up to the end that counted; null when that lies before. */
export async function taskFacts(
  bus: Bus,
  taskId: string,
  after: number,
  signal: AbortSignal,
): Promise<Answer<Events | null>> {
  const known = await knownTask(bus, taskId);
  if (!known.ok) return known;
  if (known.value.endedAt !== null && known.value.endedAt.sequence <= after) return answer(null);
  async function* events(): AsyncGenerator<StreamEvent> {
    for await (const fact of untilEnd(bus, taskId, signal)) if (fact.sequence > after) yield factEvent(fact);
  }
  return answer(events());
}

/**
 * Log chunks of one task after `after`, until the task has ended and everything is told that its stream
 * held a moment later; null when that lies before.
 */
export async function taskLogs(
  bus: Bus,
  taskId: string,
  after: number,
  signal: AbortSignal,
): Promise<Answer<Events | null>> {
  const known = await knownTask(bus, taskId);
  if (!known.ok) return known;
  const subjects = logSubject.wildcard({ taskId });
  const lastStored = async () => (await lastMessage(bus, LOGS, subjects))?.sequence ?? 0;
  const { endedAt } = known.value;
  let closeAfter = Number.POSITIVE_INFINITY;
  if (endedAt !== null) {
    const ageMs = Date.now() - endedAt.timeMs;
    await delay(Math.min(Math.max(LOG_GRACE_MS - ageMs, 0), LOG_GRACE_MS));
    closeAfter = await lastStored();
    if (closeAfter <= after) return answer(null);
  }
  async function* events(): AsyncGenerator<StreamEvent> {
    const complete = new AbortController();
    let told = after;
    const untilComplete = async () => {
      for await (const _ of untilEnd(bus, taskId, complete.signal));
      await delay(LOG_GRACE_MS, undefined, { signal: complete.signal });
      closeAfter = await lastStored();
      if (told >= closeAfter) complete.abort();
    };
    const stop = () => complete.abort();
    signal.addEventListener("abort", stop);
    if (endedAt === null) void untilComplete().catch(stop);
    try {
      for await (const message of tail(bus, {
        stream: LOGS,
        subjects: [subjects],
        from: after + 1,
        signal: complete.signal,
      })) {
        yield chunkEvent(message);
        told = message.sequence;
        if (told >= closeAfter) return;
      }
    } finally {
      signal.removeEventListener("abort", stop);
      stop();
    }
  }
  return answer(events());
}

/** What became of the task's patch, once, as soon as that is known; null if it lies before `after`, or never will be. */
export async function taskPush(
  bus: Bus,
  taskId: string,
  after: number,
  signal: AbortSignal,
): Promise<Answer<Events | null>> {
  const [first] = await factsOfTask(bus, taskId);
  if (first === undefined) return refuse("not_found", `there is no task ${taskId}`);
  const subject = pushSubject.build({ taskId });
  const stored = await lastMessage(bus, PUSHES, subject);
  if (stored === null ? !wantsPush(first) : stored.sequence <= after) return answer(null);
  async function* events(): AsyncGenerator<StreamEvent> {
    let last: Fact | Malformed | null = null;
    if (stored === null) for await (const fact of untilEnd(bus, taskId, signal)) last = fact;
    if (stored === null && last?.kind !== "succeeded") return;
    for await (const { payload, sequence } of tail(bus, {
      stream: PUSHES,
      subjects: [subject],
      from: 1,
      signal,
    })) {
      const record = readPush(payload);
      if (record === null) return;
      yield { id: sequence, event: record.state, data: JSON.stringify({ sequence, taskId, ...record }) };
      return;
    }
  }
  return answer(events());
}

const wantsPush = (fact: Fact | Malformed): boolean =>
  fact.kind === "requested" && fact.body !== null && fact.body.push === true;

async function* facts(
  bus: Bus,
  subjects: string,
  from: number,
  signal: AbortSignal,
): AsyncGenerator<Fact | Malformed> {
  for await (const message of tail(bus, { stream: TASKS, subjects: [subjects], from, signal })) {
    const fact = decodeFact(message.subject, message.payload, message.sequence, message.timeMs);
    if (fact !== null) yield fact;
  }
}

/** Every fact about the task from its first to the end that counts, as it comes. */
async function* untilEnd(bus: Bus, taskId: string, signal: AbortSignal): AsyncGenerator<Fact | Malformed> {
  let task: Lifecycle = UNKNOWN;
  for await (const fact of facts(bus, taskSubjects(taskId), 1, signal)) {
    task = fold(task, fact).task;
    yield fact;
    if (isEnd(task.state)) return;
  }
}

/** The end that counted, if there is one yet. */
async function knownTask(bus: Bus, taskId: string): Promise<Answer<{ endedAt: Fact | Malformed | null }>> {
  let task: Lifecycle = UNKNOWN;
  for (const fact of await factsOfTask(bus, taskId)) {
    task = fold(task, fact).task;
    if (isEnd(task.state)) return answer({ endedAt: fact });
  }
  return task === UNKNOWN ? refuse("not_found", `there is no task ${taskId}`) : answer({ endedAt: null });
}

function factEvent(fact: Fact | Malformed): StreamEvent {
  const { sequence, taskId, kind, speaker } = fact;
  const envelope = { sequence, at: new Date(fact.timeMs).toISOString(), taskId, kind, speaker };
  return fact.body === null
    ? { id: sequence, event: "malformed", data: JSON.stringify({ ...envelope, problem: fact.problem }) }
    : { id: sequence, event: kind, data: JSON.stringify({ ...envelope, ...fact.body, taskId }) };
}

function chunkEvent(message: {
  subject: string;
  payload: Uint8Array;
  sequence: number;
  timeMs: number;
}): StreamEvent {
  const { sequence } = message;
  const { attempt, hostId } = logSubject.parse(message.subject) ?? {};
  const envelope = { sequence, attempt: Number(attempt), hostId };
  const chunk = parseChunk(message.payload);
  return chunk.ok
    ? { id: sequence, event: chunk.value.source, data: JSON.stringify({ ...envelope, ...chunk.value }) }
    : {
        id: sequence,
        event: "malformed",
        data: JSON.stringify({ ...envelope, problem: chunk.error.message }),
      };
}

function parseChunk(payload: Uint8Array): Answer<LogChunk> {
  try {
    const chunk = LogChunk.safeParse(JSON.parse(new TextDecoder().decode(payload)));
    return chunk.success ? answer(chunk.data) : refuse("bad_request", describeIssues(chunk.error));
  } catch {
    return refuse("bad_request", "the payload is no JSON text");
  }
}
