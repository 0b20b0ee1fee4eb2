// The mesh over NATS: requests to its API, and the streams themselves. It must never fold a task's state for
// anybody but itself: what a task is, the status tracker tells.
import { setTimeout as delay } from "node:timers/promises";
import { uuidv7 } from "uuidv7";
import { artifactBytes, artifactOf, DamagedArtifact } from "../bus/artifacts.ts";
import { askApi } from "../bus/ask.ts";
import { type Bus, type BusOptions, connectBus } from "../bus/connect.ts";
import { lastMessage, storedMessages } from "../bus/read.ts";
import { LOGS, TASKS } from "../bus/streams.ts";
import { submitTask } from "../bus/submit.ts";
import { tail } from "../bus/tail.ts";
import { type DeployRequest, REQUEST_DEFAULTS, StrictDeployRequest } from "../contracts/deploy-request.ts";
import { decodeFact, taskSubjects } from "../contracts/fact.ts";
import { type Answer, answer, refuse } from "../contracts/failure.ts";
import { TaskId } from "../contracts/ids.ts";
import { logSubject } from "../contracts/log.ts";
import type { TaskView } from "../contracts/task.ts";
import { explainIssues } from "../contracts/unknown-field.ts";
import { fold } from "../lifecycle/fold.ts";
import { isEnd, UNKNOWN } from "../lifecycle/table.ts";
import { type MeshClient, MeshError, type StreamOptions, waitForEnd } from "./mesh-client.ts";
import { factView, type TaskFact } from "./task-fact.ts";
import { decodeLog, type TaskLog } from "./task-log.ts";

/** What may concern many tasks. */
const MANY_MS = 10_000;
const LAST_WORDS_MS = 300;

/** Fails with a `BusError` within seconds when nobody is there. Closing the client closes its connection. */
export async function connectNatsClient(options: BusOptions): Promise<MeshClient> {
  const bus = await connectBus(options);
  return natsClient(bus, () => bus[Symbol.asyncDispose]());
}

/** On a connection that is the caller's: `close` says what disposing the client does. */
export function natsClient(bus: Bus, close: () => PromiseLike<void> = async () => {}): MeshClient {
  const client: MeshClient = {
    submit: (request) => submit(bus, request),
    get: (taskId) => askApi(bus, "get", { taskId }),
    list: (query = {}) => askApi(bus, "list", query),
    cancel: (request) => askApi(bus, "cancel", request),
    say: (request) => askApi(bus, "say", request, MANY_MS),
    retry: (taskId) => askApi(bus, "retry", { taskId }),
    retryAll: (query = {}) => askApi(bus, "retryAll", query, MANY_MS),
    dead: (query = {}) => askApi(bus, "dead", query, MANY_MS),
    explain: (taskId) => askApi(bus, "explain", { taskId }),
    hosts: () => askApi(bus, "hosts", {}),
    cordon: (request) => askApi(bus, "cordon", request),
    uncordon: (hostId) => askApi(bus, "uncordon", { hostId }),
    drain: (request) => askApi(bus, "drain", request),
    pause: (request = {}) => askApi(bus, "pause", request),
    resume: (request = {}) => askApi(bus, "resume", request),
    stop: (request) => askApi(bus, "stop", request),
    costs: (query = {}) => askApi(bus, "costs", query),
    config: () => askApi(bus, "config", {}),
    configure: (key, value) => askApi(bus, "configure", { key, value }),
    facts: (taskId, options) => facts(bus, taskId, options),
    logs: (taskId, options) =>
      options?.follow ? followedLogs(bus, taskId, options) : storedLogs(bus, taskId, options),
    artifact: (taskId, name) => artifact(bus, taskId, name),
    waitForEnd: (taskId, options) => waitForEnd(client, taskId, options?.signal),
    connected: () => bus.connectedSince() !== null,
    async [Symbol.asyncDispose]() {
      await close();
    },
  };
  return client;
}

async function submit(bus: Bus, request: DeployRequest): Promise<Answer<TaskView>> {
  const parsed = StrictDeployRequest.safeParse(request);
  if (!parsed.success) return refuse("bad_request", explainIssues(parsed.error, StrictDeployRequest));
  const taskId = request.taskId ?? uuidv7();
  const submitted = await submitTask(bus, { ...parsed.data, taskId });
  if (!submitted.ok) return submitted;
  const { sequence, created } = submitted.value;
  const view = await askApi(bus, "get", { taskId, minSequence: sequence });
  // It is on the log: that no tracker answers yet is no reason to say that it was not taken.
  if (!view.ok && view.error.code === "unavailable" && created)
    return answer(justQueued(request, taskId, sequence));
  return view;
}

const justQueued = (request: DeployRequest, taskId: string, sequence: number): TaskView => ({
  taskId,
  type: request.type,
  state: "queued",
  priority: request.priority ?? "normal",
  attempt: 0,
  hostId: null,
  nonce: null,
  active: false,
  failures: 0,
  maxAttempts: request.maxAttempts ?? REQUEST_DEFAULTS.maxAttempts,
  repository: request.repository,
  branch: request.branch,
  sha: request.sha,
  prNumber: request.prNumber ?? null,
  result: null,
  push: request.push === true ? { state: "wanted" } : null,
  failure: null,
  reason: null,
  supersededBy: null,
  retryOf: request.retryOf ?? null,
  requestedAt: null,
  startedAt: null,
  waitingUntil: null,
  endedAt: null,
  lastSequence: sequence,
});

async function* facts(
  bus: Bus,
  taskId: string,
  { after = 0, signal }: StreamOptions = {},
): AsyncGenerator<TaskFact> {
  await mustBeKnown(bus, taskId);
  let task = UNKNOWN;
  for await (const message of reach(bus, TASKS, taskSubjects(taskId), 1, signal)) {
    const fact = decodeFact(message.subject, message.payload, message.sequence, message.timeMs);
    if (fact === null) continue;
    task = fold(task, fact).task;
    if (fact.body !== null && fact.sequence > after) yield factView(fact);
    if (isEnd(task.state)) return;
  }
}

async function artifact(bus: Bus, taskId: string, name: string): Promise<Answer<AsyncIterable<Uint8Array>>> {
  const task = await askApi(bus, "get", { taskId });
  if (!task.ok) return task;
  const entry = artifactOf(task.value, name);
  if (!entry.ok) return entry;
  const bytes = await artifactBytes(bus, task.value, entry.value);
  return bytes.ok ? answer(orMeshError(bytes.value)) : bytes;
}

async function* orMeshError(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  try {
    yield* bytes;
  } catch (error) {
    if (!(error instanceof DamagedArtifact)) throw unreachable(error);
    throw new MeshError({ code: "internal", message: error.message });
  }
}

async function* storedLogs(
  bus: Bus,
  taskId: string,
  { after = 0, signal }: StreamOptions = {},
): AsyncGenerator<TaskLog> {
  await mustBeKnown(bus, taskId);
  for await (const { subject, payload, sequence } of storedMessages(
    bus,
    LOGS,
    logSubject.wildcard({ taskId }),
  )) {
    signal?.throwIfAborted();
    const log = sequence > after ? decodeLog(subject, payload, sequence) : null;
    if (log !== null) yield log;
  }
}

/** A task's host says its last words before the fact that ends it, so they are stored a moment after that. */
async function* followedLogs(
  bus: Bus,
  taskId: string,
  { after = 0, signal }: StreamOptions,
): AsyncGenerator<TaskLog> {
  await mustBeKnown(bus, taskId);
  const subjects = logSubject.wildcard({ taskId });
  const complete = new AbortController();
  const either = signal ? AbortSignal.any([signal, complete.signal]) : complete.signal;
  let seen = after;
  let last = Number.POSITIVE_INFINITY;
  let failure: { error: unknown } | null = null;
  const untilEnd = async () => {
    for await (const _ of facts(bus, taskId, { signal: either }));
    await delay(LAST_WORDS_MS, undefined, { signal: either });
    last = (await lastMessage(bus, LOGS, subjects))?.sequence ?? 0;
    if (seen >= last) complete.abort();
  };
  untilEnd().catch((error: unknown) => {
    failure = { error };
    complete.abort();
  });
  try {
    for await (const { subject, payload, sequence } of reach(bus, LOGS, subjects, after + 1, either)) {
      const log = decodeLog(subject, payload, sequence);
      if (log !== null) yield log;
      seen = sequence;
      if (seen >= last) return;
    }
  } catch (error) {
    signal?.throwIfAborted();
    if (failure !== null) throw (failure as { error: unknown }).error;
    if (!complete.signal.aborted) throw error;
  } finally {
    complete.abort();
  }
}

/** Throws the signal's reason when it aborts: then nobody may take what came for all there was. */
async function* reach(bus: Bus, stream: string, subjects: string, from: number, signal?: AbortSignal) {
  const stop = signal ?? new AbortController().signal;
  try {
    yield* tail(bus, { stream, subjects: [subjects], from, signal: stop });
  } catch (error) {
    stop.throwIfAborted();
    throw unreachable(error);
  }
  stop.throwIfAborted();
}

async function mustBeKnown(bus: Bus, taskId: string): Promise<void> {
  const id = TaskId.safeParse(taskId);
  if (!id.success)
    throw new MeshError({
      code: "bad_request",
      message: id.error.issues[0]?.message ?? "expected a task id",
    });
  if ((await reaching(lastMessage(bus, TASKS, taskSubjects(taskId)))) === null)
    throw new MeshError({ code: "not_found", message: `there is no task ${taskId}` });
}

async function reaching<Value>(work: Promise<Value>): Promise<Value> {
  try {
    return await work;
  } catch (error) {
    throw unreachable(error);
  }
}

const unreachable = (error: unknown) =>
  new MeshError({
    code: "unavailable",
    message: `the log does not answer: ${error instanceof Error ? error.message : String(error)}`,
  });
