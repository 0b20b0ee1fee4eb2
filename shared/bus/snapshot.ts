// A stream as a whole, out of the broker and back into one: the server's own snapshot, which keeps every sequence, and
// so everything that names one. The client has no call for it: this speaks the server's API.
import { JetStreamApiError, jetstreamManager } from "@nats-io/jetstream";
import { createInbox, Empty, type Msg } from "nats";
import { z } from "zod";
import { isUnanswered } from "./ask.ts";
import { type Bus, BusError } from "./connect.ts";

/** What the server says of a stream: `messages`, `first_seq` and `last_seq` among others. */
export const StreamState = z.looseObject({
  messages: z.int(),
  bytes: z.int(),
  first_seq: z.int(),
  last_seq: z.int(),
  consumer_count: z.int().optional(),
});

/** Goes back to the server as it came. */
export const StreamSnapshot = z.object({ config: z.looseObject({ name: z.string() }), state: StreamState });
export type StreamSnapshot = z.infer<typeof StreamSnapshot>;

const Refusal = z.object({ error: z.object({ description: z.string() }) });
const Restoring = z.object({ deliver_subject: z.string() });

/** The server reads the whole stream and checks each message before it answers, ms. */
const ANSWER_MS = 120_000;
/** It waits five seconds for the answer to a chunk, so a silence of this length is its end, ms. */
const CHUNK_MS = 30_000;
const CHUNK_BYTES = 256 * 1024;
const NO_CONTENT = 204;
const STREAM_NOT_FOUND = 10059;

/**
 * Hands over the stream as it is now, while it goes on growing. Whatever was stored before this began is in it; what
 * is stored meanwhile may be.
 */
export async function snapshotStream(
  bus: Bus,
  stream: string,
  onChunk: (chunk: Uint8Array) => Promise<void>,
): Promise<StreamSnapshot> {
  const inbox = createInbox();
  const chunks = bus.connection.subscribe(inbox);
  try {
    const wanted = { deliver_subject: inbox, no_consumers: true, jsck: true, chunk_size: CHUNK_BYTES };
    const snapshot = await askServer(bus, `$JS.API.STREAM.SNAPSHOT.${stream}`, wanted, StreamSnapshot);
    let timer = setTimeout(() => chunks.unsubscribe(), CHUNK_MS);
    for await (const message of chunks) {
      clearTimeout(timer);
      if (message.data.length === 0) {
        const code = message.headers?.code ?? NO_CONTENT;
        if (code === NO_CONTENT || code === 0) return snapshot;
        throw new BusError(`${stream}: the server broke its snapshot off: ${message.headers?.description}`);
      }
      await onChunk(message.data);
      message.respond();
      timer = setTimeout(() => chunks.unsubscribe(), CHUNK_MS);
    }
    throw new BusError(`${stream}: the server's snapshot came to no end`);
  } finally {
    chunks.unsubscribe();
  }
}

/** Makes the stream, which must not be there, from what `snapshotStream` handed over; its state afterwards. */
export async function restoreStream(
  bus: Bus,
  { config, state }: StreamSnapshot,
  chunks: AsyncIterable<Uint8Array>,
): Promise<StreamSnapshot> {
  const subject = `$JS.API.STREAM.RESTORE.${config.name}`;
  const { deliver_subject } = await askServer(bus, subject, { config, state }, Restoring);
  for await (const chunk of chunks) {
    const message = await request(bus, deliver_subject, chunk, CHUNK_MS);
    // It answers a chunk with nothing, unless it refuses it.
    if (message.data.length > 0) parse(subject, message.json(), StreamSnapshot);
  }
  return parse(subject, (await request(bus, deliver_subject, Empty, ANSWER_MS)).json(), StreamSnapshot);
}

/** What is stored under each of the streams; null where there is none. */
export async function streamStates(
  bus: Bus,
  streams: string[],
): Promise<Map<string, z.infer<typeof StreamState> | null>> {
  const manager = await jetstreamManager(bus.connection);
  const states = new Map<string, z.infer<typeof StreamState> | null>();
  for (const stream of streams)
    states.set(
      stream,
      await manager.streams.info(stream).then(
        ({ state }) => StreamState.parse(state),
        (error: unknown) => {
          if (error instanceof JetStreamApiError && error.code === STREAM_NOT_FOUND) return null;
          throw error;
        },
      ),
    );
  return states;
}

/** With everything in them. */
export async function deleteStreams(bus: Bus, streams: string[]): Promise<void> {
  const manager = await jetstreamManager(bus.connection);
  for (const stream of streams)
    await manager.streams.delete(stream).catch((error: unknown) => {
      if (!(error instanceof JetStreamApiError && error.code === STREAM_NOT_FOUND)) throw error;
    });
}

/** How many messages lie under each subject of the stream, and since when the oldest does, ms since the epoch. */
export async function contentOf(
  bus: Bus,
  stream: string,
  subjects: string,
): Promise<{ messages: Map<string, number>; oldestMs: number }> {
  const manager = await jetstreamManager(bus.connection);
  const { state } = await manager.streams.info(stream, { subjects_filter: subjects });
  const oldestMs = state.messages > 0 ? Date.parse(state.first_ts) : Number.POSITIVE_INFINITY;
  return {
    messages: new Map(Object.entries(state.subjects ?? {})),
    oldestMs: state.last_seq === 0 ? 0 : oldestMs,
  };
}

async function askServer<Schema extends z.ZodType>(
  bus: Bus,
  subject: string,
  wanted: unknown,
  reply: Schema,
): Promise<z.output<Schema>> {
  const message = await request(bus, subject, JSON.stringify(wanted), ANSWER_MS);
  return parse(subject, message.json(), reply);
}

async function request(
  bus: Bus,
  subject: string,
  payload: Uint8Array | string,
  timeoutMs: number,
): Promise<Msg> {
  try {
    return await bus.connection.request(subject, payload, { timeout: timeoutMs });
  } catch (error) {
    if (isUnanswered(error)) throw new BusError(`${subject}: the server does not answer`);
    throw error;
  }
}

function parse<Schema extends z.ZodType>(what: string, json: unknown, schema: Schema): z.output<Schema> {
  const refused = Refusal.safeParse(json);
  if (refused.success) throw new BusError(`${what}: the server refuses: ${refused.data.error.description}`);
  return schema.parse(json);
}
