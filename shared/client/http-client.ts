// The mesh over HTTP: the gateway's routes, and its event streams with automatic resume. It must never need more
// than `fetch`, and never repeat a request that was not idempotent.
import { uuidv7 } from "uuidv7";
import { z } from "zod";
import { API, type ApiInput } from "../contracts/api.ts";
import type { DeployRequest } from "../contracts/deploy-request.ts";
import { type Answer, answer, ErrorCode, refuse } from "../contracts/failure.ts";
import { systemErrorCode } from "../process/system-error.ts";
import { type ListQuery, type MeshClient, MeshError, type StreamOptions, waitForEnd } from "./mesh-client.ts";
import { type ResumeOptions, resumedEvents } from "./server-sent-events.ts";
import { parseFactView, type TaskFact } from "./task-fact.ts";
import { TaskLog } from "./task-log.ts";

const REQUEST_MS = 30_000;
const QUIET_MS = 1_000;

/** RFC 9457, with the mesh's own code. */
const Problem = z.object({ code: ErrorCode, detail: z.string().optional(), title: z.string().optional() });

/** `url` is the gateway's, `http(s)://host[:port][/prefix]`. Nothing is sent before the first call. */
export function httpClient(url: string): MeshClient {
  const base = url.endsWith("/") ? url : `${url}/`;
  let up = true;
  const onConnected = (connected: boolean) => {
    up = connected;
  };
  const call = async <Schema extends z.ZodType>(
    reply: Schema,
    method: string,
    path: string,
    body?: unknown,
  ) => {
    const json = await request(base, method, path, body);
    return json.ok ? parse(reply, json.value) : json;
  };
  const get = (taskId: string) => call(API.get.reply, "GET", `v1/tasks/${encodeURIComponent(taskId)}`);
  const stream = (taskId: string, what: "events" | "logs", { after = 0, signal }: StreamOptions) =>
    resumedEvents({
      open: opener(base, `v1/tasks/${encodeURIComponent(taskId)}/${what}`),
      after,
      signal,
      onConnected,
    });
  const client: MeshClient = {
    async submit(task: DeployRequest) {
      const taskId = task.taskId ?? uuidv7();
      const accepted = await request(base, "POST", "v1/tasks", { ...task, taskId });
      return accepted.ok ? get(taskId) : accepted;
    },
    get,
    list: (query = {}) => call(API.list.reply, "GET", `v1/tasks${queryText(query)}`),
    cancel: (wish) => call(API.cancel.reply, "POST", "v1/cancellations", wish),
    say: ({ taskId, ...words }) =>
      call(API.say.reply, "POST", `v1/tasks/${encodeURIComponent(taskId)}/say`, words),
    retry: (taskId) => call(API.retry.reply, "POST", `v1/tasks/${encodeURIComponent(taskId)}/retry`),
    retryAll: (query = {}) => call(API.retryAll.reply, "POST", "v1/retries", query),
    dead: (query = {}) => call(API.dead.reply, "GET", `v1/dead${queryText(query)}`),
    explain: (taskId) => call(API.explain.reply, "GET", `v1/tasks/${encodeURIComponent(taskId)}/explain`),
    hosts: () => call(API.hosts.reply, "GET", "v1/hosts"),
    cordon: ({ hostId, ...wish }) => call(API.cordon.reply, "POST", hostPath(hostId, "cordon"), wish),
    uncordon: (hostId) => call(API.uncordon.reply, "POST", hostPath(hostId, "uncordon")),
    drain: ({ hostId, ...wish }) => call(API.drain.reply, "POST", hostPath(hostId, "drain"), wish),
    pause: (wish = {}) => call(API.pause.reply, "POST", "v1/pause", wish),
    resume: (wish = {}) => call(API.resume.reply, "POST", "v1/resume", wish),
    stop: (wish) => call(API.stop.reply, "POST", "v1/stop", wish),
    costs: (query = {}) => call(API.costs.reply, "GET", `v1/costs${queryText(query)}`),
    config: () => call(API.config.reply, "GET", "v1/config"),
    configure: (key, value) => call(API.configure.reply, "POST", "v1/config", { key, value }),
    async *facts(taskId, options = {}): AsyncGenerator<TaskFact> {
      for await (const { data } of stream(taskId, "events", options)) {
        const fact = parseFactView(parseJson(data));
        if (fact !== null) yield fact;
      }
    },
    async *logs(taskId, options = {}): AsyncGenerator<TaskLog> {
      const from = (signal?: AbortSignal) => stream(taskId, "logs", { ...options, signal });
      for await (const { data } of options.follow ? from(options.signal) : untilQuiet(from, options.signal)) {
        const log = TaskLog.safeParse(parseJson(data));
        if (log.success) yield log.data;
      }
    },
    artifact: (taskId, name) =>
      download(base, `v1/tasks/${encodeURIComponent(taskId)}/artifacts/${encodeURIComponent(name)}`),
    waitForEnd: (taskId, options) => waitForEnd(client, taskId, options?.signal),
    connected: () => up,
    async [Symbol.asyncDispose]() {},
  };
  return client;
}

const hostPath = (hostId: string, verb: string): string => `v1/hosts/${encodeURIComponent(hostId)}/${verb}`;

async function request(base: string, method: string, path: string, body?: unknown): Promise<Answer<unknown>> {
  try {
    const response = await fetch(new URL(path, base), {
      method,
      headers: {
        accept: "application/json",
        ...(body === undefined ? {} : { "content-type": "application/json" }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(REQUEST_MS),
    });
    return response.ok ? answer(await response.json()) : await problemOf(response);
  } catch (error) {
    return refuse("unavailable", `cannot reach ${base}: ${reasonOf(error)}`);
  }
}

async function download(base: string, path: string): Promise<Answer<AsyncIterable<Uint8Array>>> {
  try {
    const response = await fetch(new URL(path, base));
    return response.ok ? answer(bytesOf(response)) : await problemOf(response);
  } catch (error) {
    return refuse("unavailable", `cannot reach ${base}: ${reasonOf(error)}`);
  }
}

/** The gateway breaks off what turns out to be damaged. */
async function* bytesOf({ body }: Response): AsyncGenerator<Uint8Array> {
  try {
    if (body !== null) yield* body;
  } catch (error) {
    throw new MeshError({ code: "internal", message: `the download broke off: ${reasonOf(error)}` });
  }
}

async function problemOf(
  response: Response,
): Promise<{ ok: false; error: { code: ErrorCode; message: string } }> {
  const text = await response.text().catch(() => "");
  try {
    const problem = Problem.parse(JSON.parse(text));
    return refuse(problem.code, problem.detail ?? problem.title ?? problem.code);
  } catch {
    const code =
      response.status === 404 ? "not_found" : response.status >= 500 ? "unavailable" : "bad_request";
    return refuse(code, `${response.url} answered ${response.status}, and is perhaps no mesh`);
  }
}

function parse<Schema extends z.ZodType>(schema: Schema, json: unknown): Answer<z.output<Schema>> {
  const value = schema.safeParse(json);
  return value.success ? answer(value.data) : refuse("internal", `unreadable answer: ${value.error.message}`);
}

/** What goes wrong before the stream was ever open ends it; afterwards only what lasts does. */
function opener(base: string, path: string): ResumeOptions["open"] {
  let opened = false;
  return async (lastEventId, signal) => {
    const headers = {
      accept: "text/event-stream",
      ...(lastEventId > 0 ? { "last-event-id": String(lastEventId) } : {}),
    };
    let response: Response;
    try {
      response = await fetch(new URL(path, base), { headers, signal });
    } catch (error) {
      if (opened || signal.aborted) throw error;
      throw new MeshError({ code: "unavailable", message: `cannot reach ${base}: ${reasonOf(error)}` });
    }
    if (response.status === 204) return null;
    if (response.ok && response.body !== null) {
      opened = true;
      return response.body;
    }
    const { error } = await problemOf(response);
    if (opened && error.code === "unavailable") return "later";
    throw new MeshError(error);
  };
}

/** What is stored comes at once: the gateway's stream of a running task goes on, but its past ends with a silence. */
async function* untilQuiet<Item>(
  from: (signal: AbortSignal) => AsyncIterable<Item>,
  outer: AbortSignal | undefined,
): AsyncGenerator<Item> {
  const quiet = new AbortController();
  const timer = setTimeout(() => quiet.abort(), QUIET_MS);
  try {
    for await (const item of from(outer ? AbortSignal.any([outer, quiet.signal]) : quiet.signal)) {
      timer.refresh();
      yield item;
    }
  } catch (error) {
    outer?.throwIfAborted();
    if (!quiet.signal.aborted) throw error;
  } finally {
    clearTimeout(timer);
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function queryText(query: ListQuery | ApiInput<"dead"> | ApiInput<"costs">): string {
  const given = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) if (value !== undefined) given.set(name, String(value));
  return given.size === 0 ? "" : `?${given.toString()}`;
}

/** `fetch` hides why in the cause. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { message, cause } = error;
  return cause instanceof Error ? cause.message || (systemErrorCode(cause) ?? message) : message;
}
