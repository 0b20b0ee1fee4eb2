// One consumer that reads a stream from a place on. It ends when the broker no longer has it, and says so; it never
// makes itself anew.
import { DeliverPolicy, JetStreamApiError, type JsMsg } from "@nats-io/jetstream";
import type { Bus } from "./connect.ts";

export interface Reading {
  /** Resolves when it has ended, for whatever reason. */
  readonly ended: Promise<unknown>;
  /** Nothing was stored beyond the place when it began. */
  readonly atEnd: boolean;
  /** Messages that the broker has and has not delivered. Rejects if it no longer knows this consumer. */
  pending(): Promise<number>;
  close(): Promise<void>;
}

export interface ReadingOptions {
  stream: string;
  subjects?: string[];
  /** The first sequence wanted, or the last message of each subject on. */
  from: number | "last";
  onMessage: (message: JsMsg) => void;
}

/** Messages that a follower asks for ahead. */
export const FOLLOW_AHEAD = 1_000;
/** A consumer that nobody asks any more is forgotten by the broker after so long, ms. */
const INACTIVE_MS = 60_000;

export async function openReading(bus: Bus, options: ReadingOptions): Promise<Reading> {
  const consumer = await bus.js.consumers.get(options.stream, {
    ...(options.subjects ? { filter_subjects: options.subjects } : {}),
    ...start(options.from),
    inactive_threshold: INACTIVE_MS,
  });
  const atEnd = (await consumer.info(true)).num_pending === 0;
  const messages = await consumer.consume({
    max_messages: FOLLOW_AHEAD,
    expires: 10_000,
    // Else the client waits for heartbeats to be missed, and asks for a stream that is gone for ever.
    abort_on_missing_resource: true,
    callback: options.onMessage,
  });
  return {
    ended: messages.closed(),
    atEnd,
    pending: async () => (await consumer.info()).num_pending,
    async close() {
      // Otherwise the broker keeps it until it has been idle for long.
      void consumer.delete().catch(() => {});
      await messages.close();
    },
  };
}

function start(from: ReadingOptions["from"]) {
  if (from === "last") return { deliver_policy: DeliverPolicy.LastPerSubject };
  return from <= 1
    ? { deliver_policy: DeliverPolicy.All }
    : { deliver_policy: DeliverPolicy.StartSequence, opt_start_seq: from };
}

const CONSUMER_NOT_FOUND = 10014;
const STREAM_NOT_FOUND = 10059;

const hasCode = (error: unknown, code: number): boolean =>
  error instanceof JetStreamApiError && error.code === code;
export const isStreamMissing = (error: unknown): boolean => hasCode(error, STREAM_NOT_FOUND);
export const isConsumerMissing = (error: unknown): boolean => hasCode(error, CONSUMER_NOT_FOUND);
