// The host's end of the door at which an agent asks its provider: takes the attempt's token, sends the host's key in its
// place, and counts what the answers say was used. The key never goes inside, and no port leads here. Once the attempt's
// tokens are used up, nothing more is asked.
import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import {
  type ClientRequest,
  createServer,
  Agent as HttpAgent,
  type IncomingMessage,
  type OutgoingHttpHeaders,
  request as requestHttp,
  type ServerResponse,
} from "node:http";
import { Agent as HttpsAgent, request as requestHttps } from "node:https";
import { type Duplex, pipeline, Transform } from "node:stream";
import { tokensOf } from "../../../shared/contracts/agent-event.ts";
import type { AgentResult } from "../../../shared/contracts/attempt-result.ts";
import type { Allowance } from "../../../shared/contracts/budget.ts";
import type { Failure } from "../../../shared/contracts/failure.ts";
import type { Door } from "../guest/protocol.ts";
import { oneAtATime } from "../network/one-at-a-time.ts";
import { answersHeaders, isAnswer, requestsHeaders } from "../network/passed-on.ts";
import type { Provider, Tokens } from "./provider.ts";
import type { RunOutcome } from "./runner.ts";

/** What a request may bring, bytes: twice what the provider itself takes. */
const REQUEST_MAX_BYTES = 67_108_864;

export interface ProviderDoor {
  readonly door: Door;
  readonly environment: Record<string, string>;
  /** A connection from inside. */
  answer(stream: Duplex): void;
  /** The outcome with what was counted here, and why it ended if that is for its tokens; nothing is asked after that. */
  judge(outcome: RunOutcome): RunOutcome;
}

export function openProviderDoor(provider: Provider, { tokens: limit }: Allowance): ProviderDoor {
  const token = `mesh-${randomBytes(32).toString("base64url")}`;
  const base = new URL(provider.baseUrl);
  const isHttps = base.protocol === "https:";
  // A proxy of the machine's, where its environment names one, as the agent itself would go by it.
  const proxyEnv = process.env;
  const agent = isHttps
    ? new HttpsAgent({ proxyEnv, keepAlive: true })
    : new HttpAgent({ proxyEnv, keepAlive: true });
  const measured = { answers: 0, inputTokens: 0, outputTokens: 0, cacheReadTokens: 0, cacheWriteTokens: 0 };
  let isUsedUp = false;
  /** Why the provider could not be reached when it was asked last; null if it could. */
  let outOfReach: string | null = null;
  let isOver = false;
  const used = () => tokensOf({ ...measured, turns: measured.answers, costUsd: null });

  const server = createServer(oneAtATime(pass));
  server.on("clientError", (_error, stream: Duplex) => stream.destroy());

  function pass(request: IncomingMessage, response: ServerResponse): void {
    const { method = "", url = "/" } = request;
    const target = URL.canParse(url, "http://provider") ? new URL(url, "http://provider") : null;
    const refuse = (status: number, message: string): void => {
      if (response.headersSent) return void response.destroy();
      const body = provider.refusal(status, `agent-mesh: ${message}`);
      response.writeHead(status, {
        "content-type": "application/json",
        "content-length": Buffer.byteLength(body),
        // Asking again would change nothing.
        "x-should-retry": "false",
        connection: "close",
      });
      response.end(body);
    };
    if (!isToken(given(request), token)) return refuse(401, "this is not the token of this attempt");
    // What comes later could be told to nobody any more.
    if (isOver) return refuse(401, "the agent whose token this is has ended");
    if (target === null || !provider.allows(method, target.pathname))
      return refuse(404, `an agent may not ask its provider for ${method} ${target?.pathname ?? url}`);
    if (limit !== undefined && used() >= limit) {
      isUsedUp = true;
      return refuse(403, `${limit} tokens were allowed, and ${used()} are used`);
    }
    if (Number(request.headers["content-length"] ?? 0) > REQUEST_MAX_BYTES)
      return refuse(413, `a request may have ${REQUEST_MAX_BYTES} bytes`);
    const { pathname, search } = target;
    const isCounted = provider.isCounted(method, pathname);
    const onward = (isHttps ? requestHttps : requestHttp)({
      ...{ protocol: base.protocol, hostname: base.hostname.replace(/^\[|\]$/g, ""), port: base.port, agent },
      ...{ method, path: `${base.pathname.replace(/\/$/, "")}${pathname}${search}` },
      headers: headersOf(request),
    });
    onward.once("response", (answer) => {
      outOfReach = null;
      give(answer, response, isCounted);
    });
    onward.on("error", (error) => {
      // Whoever asked may have gone, or has been told already.
      if (response.destroyed || response.writableEnded) return;
      outOfReach = error.message;
      if (response.headersSent) response.destroy();
      else refuseLater(response, error.message);
    });
    // Without an error too, as when it would go on as something else than HTTP.
    onward.once("close", () => {
      if (!response.destroyed && !response.headersSent) refuseLater(response, "it has broken off");
    });
    response.once("close", () => {
      if (!response.writableFinished) onward.destroy();
    });
    send(request, onward, () => refuse(413, `a request may have ${REQUEST_MAX_BYTES} bytes`));
  }

  /** Whoever cannot be reached now may be a moment later: the agent knows how to wait for that. */
  function refuseLater(response: ServerResponse, why: string): void {
    const body = provider.refusal(502, `agent-mesh: the provider cannot be reached: ${why}`);
    response.writeHead(502, {
      "content-type": "application/json",
      "content-length": Buffer.byteLength(body),
    });
    response.end(body);
  }

  function headersOf(request: IncomingMessage): OutgoingHttpHeaders {
    const { host: _, authorization: __, "x-api-key": ___, ...headers } = requestsHeaders(request);
    // As it is, or what it has used could not be read.
    return { ...headers, "accept-encoding": "identity", ...provider.headers };
  }

  function give(answer: IncomingMessage, response: ServerResponse, isCounted: boolean): void {
    if (!isAnswer(answer)) {
      answer.destroy();
      return refuseLater(response, `its answer has the status ${answer.statusCode}`);
    }
    response.writeHead(answer.statusCode ?? 502, answersHeaders(answer));
    if (!isCounted || answer.statusCode !== 200) return void pipeline(answer, response, () => {});
    const reader = provider.readUsage(answer.headers["content-type"] ?? "");
    const counting = new Transform({
      transform(bytes: Buffer, _encoding, done) {
        reader.push(bytes);
        done(null, bytes);
      },
    });
    // One that was cut off has been used as far as it came.
    pipeline(answer, counting, response, () => count(reader.used()));
  }

  function count(tokens: Tokens): void {
    measured.answers++;
    for (const kind of KINDS) measured[kind] += tokens[kind];
  }

  return {
    door: { name: "provider", pathVariable: provider.pathVariable },
    environment: provider.environment(token),
    answer: (stream) => void server.emit("connection", stream),
    judge(outcome) {
      isOver = true;
      agent.destroy();
      const { agent: told } = outcome;
      const counted = told === undefined ? outcome : { ...outcome, agent: withMeasured(told, measured) };
      if (counted.failure === null) return counted;
      if (isUsedUp) return { ...counted, failure: usedUp(limit, used()) };
      return outOfReach === null || counted.failure.category !== "quota"
        ? counted
        : { ...counted, failure: noWayTo(base, outOfReach) };
    },
  };
}

const KINDS = ["inputTokens", "outputTokens", "cacheReadTokens", "cacheWriteTokens"] as const;

const usedUp = (limit: number | undefined, used: number): Failure => ({
  category: "budget",
  message: `the agent was allowed ${limit} tokens, and has used ${used}`,
});

/** Not the provider's trouble, as it looks to the agent: another host's network may be better. */
const noWayTo = ({ host }: URL, why: string): Failure => ({
  category: "host",
  message: `the provider (${host}) cannot be reached: ${why}`,
});

/**
 * What it has used, by the larger of the two accounts: an agent may leave out what it asks beside its work, tells nothing
 * when it is killed, and is nobody to be trusted; what it alone knows, as of a session that is gone on with, counts too.
 */
function withMeasured(agent: AgentResult, measured: Tokens & { answers: number }): AgentResult {
  if (measured.answers === 0) return agent;
  const { answers, ...tokens } = measured;
  const told = agent.usage ?? { turns: answers, costUsd: null, ...tokens };
  const usage = { ...told };
  for (const kind of KINDS) usage[kind] = Math.max(told[kind], tokens[kind]);
  return { ...agent, usage };
}

/** By either header that a client may send it in. */
function given({ headers }: IncomingMessage): string {
  const { "x-api-key": key, authorization = "" } = headers;
  return (Array.isArray(key) ? key[0] : key) ?? authorization.replace(/^bearer /i, "");
}

/** In the same time whatever was given. */
function isToken(text: string, token: string): boolean {
  const [one, other] = [text, token].map((value) => createHash("sha256").update(value).digest());
  return one !== undefined && other !== undefined && timingSafeEqual(one, other);
}

/** Breaks off what is longer than a request may be, whatever it has said of its length. */
function send(request: IncomingMessage, onward: ClientRequest, tooLong: () => void): void {
  let bytes = 0;
  request.on("data", (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes <= REQUEST_MAX_BYTES) return;
    request.unpipe(onward);
    onward.destroy();
    tooLong();
  });
  request.pipe(onward);
  request.once("aborted", () => onward.destroy());
}
