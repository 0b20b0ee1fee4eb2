// What the routes about tasks do: parse the request, ask the log or the mesh's API, and hand over the answer.
// They decide nothing about tasks.
import { createHash } from "node:crypto";
import type { Context } from "hono";
import { z } from "zod";
import { artifactBytes, artifactOf } from "../../shared/bus/artifacts.ts";
import { askApi } from "../../shared/bus/ask.ts";
import { submitTask } from "../../shared/bus/submit.ts";
import { grantOf } from "../../shared/config/mesh-config.ts";
import { API, CancelRequest, DeadRequest, ListRequest, RetryAllRequest } from "../../shared/contracts/api.ts";
import { StrictDeployRequest } from "../../shared/contracts/deploy-request.ts";
import { type Answer, answer, refuse } from "../../shared/contracts/failure.ts";
import { TaskId } from "../../shared/contracts/ids.ts";
import { allFacts, taskFacts, taskLogs, taskPush } from "./event-streams.ts";
import { type Handler, parse, parseBody, reply } from "./json.ts";
import { refuseWith } from "./problem.ts";
import { notGranted } from "./push/judge.ts";

/** What may concern many tasks. */
const MANY_MS = 10_000;

export const submit: Handler = async ({ bus, config }, context) => {
  const request = await parseBody(context, StrictDeployRequest);
  if (!request.ok) return refuseWith(context, request.error);
  const { push, repository } = request.value;
  if (push === true && grantOf(config, repository) === null)
    return refuseWith(context, refuse("forbidden", notGranted(repository)).error);
  const key = context.req.header("idempotency-key");
  if (key !== undefined && request.value.taskId !== undefined)
    return refuseWith(context, refuse("bad_request", "expected taskId or Idempotency-Key, not both").error);
  const taskId = key === undefined ? request.value.taskId : taskIdOfKey(key);
  const submitted = await submitTask(bus, { ...request.value, taskId });
  if (!submitted.ok) return refuseWith(context, submitted.error);
  context.header("location", `/v1/tasks/${submitted.value.taskId}`);
  return context.json(submitted.value, 202);
};

export const list: Handler = async ({ bus }, context) => {
  const request = parse(ListRequest, queryOf(context));
  return reply(context, request.ok ? await askApi(bus, "list", request.value) : request);
};

export const dead: Handler = async ({ bus }, context) => {
  const request = parse(DeadRequest, queryOf(context));
  return reply(context, request.ok ? await askApi(bus, "dead", request.value, MANY_MS) : request);
};

export const retryAll: Handler = async ({ bus }, context) => {
  const request = await parseBody(context, RetryAllRequest);
  return reply(context, request.ok ? await askApi(bus, "retryAll", request.value, MANY_MS) : request, 202);
};

export const get: Handler = async ({ bus }, context) => {
  const id = taskIdOf(context);
  return reply(context, id.ok ? await askApi(bus, "get", { taskId: id.value }) : id);
};

export const explain: Handler = async ({ bus }, context) => {
  const id = taskIdOf(context);
  return reply(context, id.ok ? await askApi(bus, "explain", { taskId: id.value }) : id);
};

export const retry: Handler = async ({ bus }, context) => {
  const id = taskIdOf(context);
  const body = await parseBody(context, z.strictObject({}).default({}));
  const refused = [id, body].find((answer) => !answer.ok);
  if (refused?.ok === false) return refuseWith(context, refused.error);
  const again = await askApi(bus, "retry", { taskId: id.ok ? id.value : "" });
  if (again.ok) context.header("location", `/v1/tasks/${again.value.taskId}`);
  return reply(context, again, 202);
};

export const say: Handler = async ({ bus }, context) => {
  const body = await parseBody(context, z.record(z.string(), z.unknown()).default({}));
  if (!body.ok) return refuseWith(context, body.error);
  const request = parse(API.say.request, { ...body.value, taskId: context.req.param("id") });
  return reply(context, request.ok ? await askApi(bus, "say", request.value, MANY_MS) : request, 202);
};

const CancelBody = z.strictObject({ reason: z.string().max(500).optional() }).default({});

export const cancel: Handler = async ({ bus }, context) => {
  const id = taskIdOf(context);
  if (!id.ok) return refuseWith(context, id.error);
  const body = await parseBody(context, CancelBody);
  if (!body.ok) return refuseWith(context, body.error);
  return reply(context, await askApi(bus, "cancel", { taskId: id.value, ...body.value }, MANY_MS), 202);
};

export const cancelMany: Handler = async ({ bus }, context) => {
  const request = await parseBody(context, CancelRequest);
  return reply(context, request.ok ? await askApi(bus, "cancel", request.value, MANY_MS) : request, 202);
};

export const events: Handler = async ({ bus, streams }, context) => {
  const after = lastEventId(context);
  if (!after.ok) return refuseWith(context, after.error);
  return streams.respond(context.env, (signal) => allFacts(bus, after.value, signal));
};

export const taskEvents: Handler = async ({ bus, streams }, context) => {
  const asked = taskAndPlace(context);
  if (!asked.ok) return refuseWith(context, asked.error);
  const { taskId, after } = asked.value;
  return streams.respond(context.env, (signal) => taskFacts(bus, taskId, after, signal));
};

export const logs: Handler = async ({ bus, streams }, context) => {
  const asked = taskAndPlace(context);
  if (!asked.ok) return refuseWith(context, asked.error);
  const { taskId, after } = asked.value;
  return streams.respond(context.env, (signal) => taskLogs(bus, taskId, after, signal));
};

export const push: Handler = async ({ bus, streams }, context) => {
  const asked = taskAndPlace(context);
  if (!asked.ok) return refuseWith(context, asked.error);
  const { taskId, after } = asked.value;
  return streams.respond(context.env, (signal) => taskPush(bus, taskId, after, signal));
};

export const artifact: Handler = async ({ bus, log }, context) => {
  const id = taskIdOf(context);
  if (!id.ok) return refuseWith(context, id.error);
  const task = await askApi(bus, "get", { taskId: id.value });
  if (!task.ok) return refuseWith(context, task.error);
  const name = context.req.param("name") ?? "";
  const found = artifactOf(task.value, name);
  if (!found.ok) return refuseWith(context, found.error);
  const entry = found.value;
  const etag = `"${entry.sha256}"`;
  context.header("etag", etag);
  if (context.req.header("if-none-match") === etag) return context.body(null, 304);
  const bytes = await artifactBytes(bus, task.value, entry);
  if (!bytes.ok) return refuseWith(context, bytes.error);
  const body = orBreakOff(bytes.value, (error) => {
    log.warn({ error, taskId: id.value, name }, "a download broke off");
    context.env.outgoing.destroy();
  });
  return context.body(ReadableStream.from(body) as ReadableStream, 200, {
    "content-type": "application/octet-stream",
    "content-length": String(entry.size),
    "content-disposition": `attachment; filename="${entry.name}"`,
  });
};

/** The bytes, for a body: when they turn out wrong on the way, `breakOff` is called and nothing more comes. */
async function* orBreakOff(
  bytes: AsyncIterable<Uint8Array>,
  breakOff: (error: unknown) => void,
): AsyncGenerator<Uint8Array> {
  try {
    yield* bytes;
  } catch (error) {
    breakOff(error);
  }
}

const taskIdOf = (context: Context): Answer<string> => parse(TaskId, context.req.param("id"));

/** One key is one task, whoever sends it again. */
const taskIdOfKey = (key: string): string =>
  `key-${createHash("sha256").update(key).digest("hex").slice(0, 40)}`;

const queryOf = (context: Context): Record<string, number | string> =>
  Object.fromEntries(Object.entries(context.req.query()).map(([name, value]) => [name, numberOrText(value)]));

const numberOrText = (text: string): number | string => (/^\d{1,15}$/.test(text) ? Number(text) : text);

/** The sequence after which the client wants to go on; null when it names none. */
function lastEventId(context: Context): Answer<number | null> {
  const text = context.req.header("last-event-id") ?? context.req.query("lastEventId");
  if (text === undefined || text === "") return answer(null);
  if (/^\d{1,15}$/.test(text)) return answer(Number(text));
  return refuse("bad_request", "Last-Event-ID: expected the id of an event, a whole number");
}

function taskAndPlace(context: Context): Answer<{ taskId: string; after: number }> {
  const id = taskIdOf(context);
  if (!id.ok) return id;
  const after = lastEventId(context);
  return after.ok ? answer({ taskId: id.value, after: after.value ?? 0 }) : after;
}
