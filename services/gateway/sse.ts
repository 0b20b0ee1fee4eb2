// Server-sent events over one HTTP response each: frames, heartbeats, backpressure, and the end of all of
// them at shutdown. It never buffers for a client that does not read, and knows nothing of what it sends.
import { once } from "node:events";
import type { HttpBindings } from "@hono/node-server";
import { RESPONSE_ALREADY_SENT } from "@hono/node-server/utils/response";
import type { Logger } from "pino";
import { type Answer, refuse } from "../../shared/contracts/failure.ts";
import { problemResponse } from "./problem.ts";

/** Without `data` it only tells the client where it stands. */
export interface StreamEvent {
  id: number;
  event?: string;
  /** One line. */
  data?: string;
}

/** Null: there is nothing more to come, ever. */
type OpenStream = (signal: AbortSignal) => Promise<Answer<AsyncIterable<StreamEvent> | null>>;

export interface SseStreams extends AsyncDisposable {
  respond(http: HttpBindings, open: OpenStream): Promise<Response>;
  readonly size: number;
}

export interface SseLimits {
  maxClients: number;
  heartbeatMs: number;
  /** A client that takes nothing for so long is dropped; it can resume. */
  stallMs: number;
}

export const SSE_LIMITS: SseLimits = { maxClients: 1_000, heartbeatMs: 15_000, stallMs: 30_000 };
const RECONNECT_MS = 1_000;

export function sseStreams(log: Logger, limits: Partial<SseLimits> = {}): SseStreams {
  const { maxClients, heartbeatMs, stallMs } = { ...SSE_LIMITS, ...limits };
  const open = new Map<AbortController, Promise<void>>();
  let disposed = false;

  async function send(
    { outgoing }: HttpBindings,
    events: AsyncIterable<StreamEvent>,
    leaving: AbortController,
  ): Promise<void> {
    outgoing.writeHead(200, {
      "content-type": "text/event-stream",
      "cache-control": "no-store",
      // Asks proxies not to collect.
      "x-accel-buffering": "no",
    });
    outgoing.write(`retry: ${RECONNECT_MS}\n\n`);
    const heartbeat = setInterval(() => {
      if (outgoing.writableLength === 0) outgoing.write(":\n\n");
    }, heartbeatMs);
    try {
      for await (const event of events) {
        if (leaving.signal.aborted) break;
        if (!outgoing.write(frame(event)) && !(await drained(outgoing, leaving.signal, stallMs))) {
          outgoing.destroy();
          return;
        }
      }
      outgoing.end();
    } catch (error) {
      log.warn({ error }, "an event stream broke off");
      outgoing.destroy();
    } finally {
      clearInterval(heartbeat);
      leaving.abort();
    }
  }

  return {
    get size() {
      return open.size;
    },
    async respond(http, openStream) {
      if (open.size >= maxClients)
        return problemResponse(refuse("unavailable", `${maxClients} event streams are open already`).error);
      if (disposed) return stopping();
      const leaving = new AbortController();
      const done = Promise.withResolvers<void>();
      open.set(leaving, done.promise);
      const close = () => {
        open.delete(leaving);
        done.resolve();
      };
      http.outgoing.once("close", () => leaving.abort());
      try {
        const events = await openStream(leaving.signal);
        if (events.ok && events.value !== null && !leaving.signal.aborted && http.incoming.method === "GET") {
          void send(http, events.value, leaving).finally(close);
          return RESPONSE_ALREADY_SENT;
        }
        close();
        if (!events.ok) return problemResponse(events.error);
        if (leaving.signal.aborted) return stopping();
        // An EventSource stops for good at 204; a HEAD asks for the headers only.
        if (events.value === null) return new Response(null, { status: 204 });
        return new Response(null, { headers: { "content-type": "text/event-stream" } });
      } catch (error) {
        close();
        throw error;
      }
    },
    async [Symbol.asyncDispose]() {
      disposed = true;
      for (const leaving of open.keys()) leaving.abort();
      await Promise.all(open.values());
    },
  };
}

const stopping = () => problemResponse(refuse("unavailable", "the gateway is stopping").error);

function frame({ id, event, data }: StreamEvent): string {
  if (data === undefined) return `id: ${id}\n\n`;
  return `id: ${id}\n${event === undefined ? "" : `event: ${event}\n`}data: ${data}\n\n`;
}

/** False when the client left, or took nothing in time. */
async function drained(
  outgoing: HttpBindings["outgoing"],
  leaving: AbortSignal,
  stallMs: number,
): Promise<boolean> {
  try {
    await once(outgoing, "drain", { signal: AbortSignal.any([leaving, AbortSignal.timeout(stallMs)]) });
    return true;
  } catch {
    return false;
  }
}
