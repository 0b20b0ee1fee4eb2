// A gateway with a real server and, unless a test wants none, a real status tracker; and what tests say on the
// log in a host's place, or read from an event stream. It must hold no expectations.
import { createHash } from "node:crypto";
import { jetstreamManager } from "@nats-io/jetstream";
import { pino } from "pino";
import { z } from "zod";
import { start as startGateway } from "../../services/gateway/main.ts";
import type { SseLimits } from "../../services/gateway/sse.ts";
import { start as startTracker } from "../../services/status-tracker/main.ts";
import { type Bus, connectBus } from "../../shared/bus/connect.ts";
import { lastMessage } from "../../shared/bus/read.ts";
import { TASKS } from "../../shared/bus/streams.ts";
import { readEnvironment } from "../../shared/config/environment.ts";
import { artifactSubject } from "../../shared/contracts/artifact.ts";
import type { ArtifactEntry, AttemptResult } from "../../shared/contracts/attempt-result.ts";
import { type FactKind, factSubject, taskSubjects } from "../../shared/contracts/fact.ts";
import { type LogChunk, logSubject } from "../../shared/contracts/log.ts";
import { startNats } from "./nats.ts";

export interface GatewayMesh extends AsyncDisposable {
  bus: Bus;
  url: string;
  port: number;
  stopGateway: () => Promise<void>;
  /** Readers of the task log that the server knows: one for each event stream, without a tracker. */
  readers: () => Promise<number>;
}

interface Wanted {
  tracker?: boolean;
  env?: NodeJS.ProcessEnv;
  sse?: Partial<SseLimits>;
  natsUrl?: string;
}

export async function startGatewayMesh({
  tracker = true,
  env = {},
  sse = {},
  natsUrl,
}: Wanted = {}): Promise<GatewayMesh> {
  await using stack = new AsyncDisposableStack();
  const url = natsUrl ?? stack.use(await startNats()).url;
  const environment = readEnvironment({ ...env, NATS_URL: url, MESH_HTTP_PORT: "0" });
  const context = { environment, log: pino({ level: "silent" }) };
  const bus = stack.use(await connectBus({ url, name: "test" }));
  if (tracker) stack.use(await startTracker(context));
  const gateway = await startGateway(context, { sse });
  let stopped: Promise<void> | undefined;
  const stopGateway = () => (stopped ??= Promise.resolve(gateway[Symbol.asyncDispose]()));
  stack.defer(stopGateway);
  const manager = await jetstreamManager(bus.connection);
  const readers = async () => (await manager.streams.info(TASKS)).state.consumer_count;
  const moved = stack.move();
  return {
    bus,
    url: gateway.url,
    port: gateway.port,
    stopGateway,
    readers,
    [Symbol.asyncDispose]: () => moved.disposeAsync(),
  };
}

export const deployRequest = (overrides: object = {}): Record<string, unknown> => ({
  type: "pr_deployment",
  repository: "octo-org/website",
  branch: "feature",
  sha: "a".repeat(40),
  cloneUrl: "https://github.com/octo-org/website.git",
  run: { command: "true" },
  ...overrides,
});

export const postJson = (
  url: string,
  body: unknown,
  headers: Record<string, string> = {},
): Promise<Response> =>
  fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: typeof body === "string" ? body : JSON.stringify(body),
  });

const Problem = z.strictObject({
  type: z.string(),
  title: z.string(),
  status: z.int(),
  detail: z.string(),
  code: z.string(),
});

/** The problem details of a refusal. Throws for any other answer. */
export async function problemOf(response: Response): Promise<z.infer<typeof Problem>> {
  const type = response.headers.get("content-type");
  const problem = Problem.parse(await response.json());
  if (type !== "application/problem+json" || problem.status !== response.status)
    throw new Error(`no problem details: ${response.status} ${type}`);
  return problem;
}

/** Puts a fact on the log after whatever was said last about the task. Returns its sequence. */
export async function say(
  bus: Bus,
  taskId: string,
  kind: FactKind,
  speaker: string,
  body: object | string,
): Promise<number> {
  const after = (await lastMessage(bus, TASKS, taskSubjects(taskId)))?.sequence ?? 0;
  const payload = typeof body === "string" ? body : JSON.stringify({ after, ...body });
  return (await bus.js.publish(factSubject.build({ taskId, kind, speaker }), payload)).seq;
}

export const sayStarted = (bus: Bus, taskId: string, attempt = 1): Promise<number> =>
  say(bus, taskId, "started", "host-1", { attempt, nonce: "n", installation: "i", boot: 1, counter: 1 });

export const saySucceeded = (
  bus: Bus,
  taskId: string,
  result: Partial<AttemptResult> = {},
): Promise<number> =>
  say(bus, taskId, "succeeded", "host-1", {
    attempt: 1,
    nonce: "n",
    result: { exitCode: 0, durationMs: 1, phases: {}, checks: [], artifacts: [], ...result },
  });

const CHUNK_BYTES = 200_000;

/** A task whose manifest names `bytes` as its patch, while the stream holds what `kept` makes of their chunks. */
export async function leaveBehind(
  bus: Bus,
  taskId: string,
  bytes: Buffer,
  kept: (chunks: Buffer[]) => Buffer[] = (chunks) => chunks,
): Promise<void> {
  const chunks = Array.from({ length: Math.ceil(bytes.length / CHUNK_BYTES) }, (_, index) =>
    bytes.subarray(index * CHUNK_BYTES, (index + 1) * CHUNK_BYTES),
  );
  const subject = artifactSubject.build({ taskId, attempt: "1", hostId: "host-1", name: "patch" });
  for (const chunk of kept(chunks)) await bus.js.publish(subject, chunk);
  const entry: ArtifactEntry = {
    name: "patch",
    size: bytes.length,
    sha256: createHash("sha256").update(bytes).digest("hex"),
    chunks: chunks.length,
  };
  await say(bus, taskId, "requested", "normal", deployRequest());
  await sayStarted(bus, taskId);
  await saySucceeded(bus, taskId, { artifacts: [entry] });
}

export async function sayLog(bus: Bus, taskId: string, chunk: Partial<LogChunk>): Promise<number> {
  const subject = logSubject.build({ taskId, attempt: "1", hostId: "host-1" });
  const whole = { at: new Date().toISOString(), source: "stdout", text: "", ...chunk };
  return (await bus.js.publish(subject, JSON.stringify(whole))).seq;
}

export interface ReadEvent {
  id: number;
  event: string;
  // oxlint-disable-next-line typescript/no-explicit-any
  data: any;
}

/** Events of a stream until it ends, or the reader leaves. Ids without data are passed over. */
export async function* readEvents(url: string, lastEventId?: number): AsyncGenerator<ReadEvent> {
  const leave = new AbortController();
  const headers: Record<string, string> =
    lastEventId === undefined ? {} : { "last-event-id": String(lastEventId) };
  const response = await fetch(url, { headers, signal: leave.signal });
  if (response.status === 204) return;
  if (response.status !== 200 || response.body === null)
    throw new Error(`${response.status}: ${await response.text()}`);
  let text = "";
  try {
    for await (const piece of response.body.pipeThrough(new TextDecoderStream())) {
      const blocks = (text + piece).split("\n\n");
      text = blocks.pop() ?? "";
      for (const block of blocks) {
        const fields = Object.fromEntries(
          block.split("\n").map((line) => line.split(/: ?(.*)/s).slice(0, 2)),
        );
        if (fields.data !== undefined)
          yield { id: Number(fields.id), event: fields.event, data: JSON.parse(fields.data) };
      }
    }
  } finally {
    leave.abort();
  }
}

export async function collect<Item>(
  items: AsyncIterable<Item>,
  count = Number.POSITIVE_INFINITY,
): Promise<Item[]> {
  const collected: Item[] = [];
  if (count === 0) return collected;
  for await (const item of items) {
    collected.push(item);
    if (collected.length >= count) break;
  }
  return collected;
}
