// Request and reply over NATS, both sides: a reply is a value or `{ code, message }`, and what comes in is
// parsed before anybody sees it.
import { ClosedConnectionError, Empty, type Msg, NoRespondersError, RequestError, TimeoutError } from "nats";
import type { z } from "zod";
import { API, type ApiInput, type ApiReply, type ApiVerb, apiSubject } from "../contracts/api.ts";
import { describeIssues } from "../contracts/fact.ts";
import { type Answer, answer, refuse, WireError } from "../contracts/failure.ts";
import { explainIssues } from "../contracts/unknown-field.ts";
import type { Bus } from "./connect.ts";

/** Replies to a question to all: no more are awaited once none has come for a while, ms. */
const GATHER = { strategy: "stall", maxWait: 2_000, stall: 400 } as const;

/** Sends a request and parses the reply. `unavailable`: nobody answered (in time): it may have been heard. */
export async function ask<Schema extends z.ZodType>(
  bus: Bus,
  subject: string,
  request: unknown,
  reply: Schema,
  timeoutMs = 5_000,
): Promise<Answer<z.output<Schema>>> {
  let message: Msg;
  try {
    message = await bus.connection.request(subject, JSON.stringify(request), { timeout: timeoutMs });
  } catch (error) {
    if (error instanceof NoRespondersError || (error instanceof RequestError && error.isNoResponders()))
      return refuse("unavailable", `nobody answers on ${subject}`);
    if (
      error instanceof TimeoutError ||
      (error instanceof RequestError && error.cause instanceof TimeoutError)
    )
      return refuse("unavailable", `no answer on ${subject} within ${timeoutMs} ms`);
    return refuse("unavailable", `${subject}: ${(error as Error).message}`);
  }
  let json: unknown;
  try {
    json = message.data.length === 0 ? null : message.json();
  } catch {
    return refuse("internal", `unreadable answer on ${subject}: it is no JSON text`);
  }
  const value = reply.safeParse(json);
  if (value.success) return answer(value.data);
  const refused = WireError.safeParse(json);
  return refused.success
    ? { ok: false, error: refused.data }
    : refuse("internal", `unreadable answer on ${subject}: ${describeIssues(value.error)}`);
}

/** Sends a request to whoever listens, and gathers the replies that can be read. */
export async function askAll<Schema extends z.ZodType>(
  bus: Bus,
  subject: string,
  request: unknown,
  reply: Schema,
): Promise<z.output<Schema>[]> {
  const replies: z.output<Schema>[] = [];
  try {
    const messages = await bus.connection.requestMany(subject, JSON.stringify(request), GATHER);
    for await (const message of messages) {
      const value = reply.safeParse(message.json());
      if (value.success) replies.push(value.data);
    }
  } catch (error) {
    if (!isUnanswered(error) && !(error instanceof SyntaxError)) throw error;
  }
  return replies;
}

/** Asks the mesh's API. */
export const askApi = <Verb extends ApiVerb>(
  bus: Bus,
  verb: Verb,
  request: ApiInput<Verb>,
  timeoutMs?: number,
): Promise<Answer<ApiReply<Verb>>> =>
  ask(
    bus,
    apiSubject.build({ verb }),
    request,
    API[verb].reply as unknown as z.ZodType<ApiReply<Verb>>,
    timeoutMs,
  );

export interface Serving {
  unsubscribe(): void;
  /** Takes nothing more; resolves once what has come is answered. */
  finish(): Promise<void>;
}

/** Answers every request on a subject; a handler that throws is a bug and answers `internal`, unless the bus was away. */
export function serve<Schema extends z.ZodType>(
  bus: Bus,
  subject: string,
  schema: Schema,
  handle: (request: z.output<Schema>) => Promise<Answer<unknown>> | Answer<unknown>,
  options: { queue?: string; onBug: (error: unknown) => void },
): Serving {
  const answering = new Set<Promise<void>>();
  const respond = async (message: Msg) => {
    let result: Answer<unknown>;
    try {
      const request = parse(schema, message);
      result = request.ok ? await handle(request.value) : request;
    } catch (error) {
      if (isUnanswered(error)) result = refuse("unavailable", "the bus did not answer in time; ask again");
      else {
        options.onBug(error);
        result = refuse("internal", "this request met a bug; the service's log has the details");
      }
    }
    // Who asked is told nothing any more, and asks again.
    if (bus.connection.isClosed()) return;
    message.respond(JSON.stringify(result.ok ? result.value : result.error));
  };
  const take = (message: Msg) => {
    const responding = respond(message).finally(() => answering.delete(responding));
    answering.add(responding);
  };
  const subscription = bus.connection.subscribe(subject, {
    ...(options.queue ? { queue: options.queue } : {}),
    callback: (error, message) => {
      if (error) options.onBug(error);
      else take(message);
    },
  });
  return {
    unsubscribe: () => subscription.unsubscribe(),
    async finish() {
      // The server is away: nobody could be answered.
      if (bus.connectedSince() === null) return subscription.unsubscribe();
      const deadline = new Promise((done) => setTimeout(done, FINISH_MS).unref());
      const finished = subscription.drain().then(() => Promise.all(answering));
      await Promise.race([finished.catch(() => {}), deadline]);
    },
  };
}

/** An answer that takes longer is not waited for when its service ends, ms. */
const FINISH_MS = 5_000;

/** The bus did not answer, or nobody on it: asking again may help. */
export const isUnanswered = (error: unknown): boolean =>
  error instanceof TimeoutError ||
  error instanceof RequestError ||
  error instanceof NoRespondersError ||
  error instanceof ClosedConnectionError;

function parse<Schema extends z.ZodType>(schema: Schema, message: Msg): Answer<z.output<Schema>> {
  let json: unknown;
  try {
    json = message.data.length === Empty.length ? {} : message.json();
  } catch {
    return refuse("bad_request", "the payload is no JSON text");
  }
  const request = schema.safeParse(json);
  return request.success ? answer(request.data) : refuse("bad_request", explainIssues(request.error, schema));
}
