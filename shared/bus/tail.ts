// Reads a stream as it grows at the reader's own pace, for readers that may be slower than the stream (a
// client's socket): what is not read yet stays in the broker. Every message once, in order, through reconnects.
import { DeliverPolicy } from "@nats-io/jetstream";
import type { Bus } from "./connect.ts";
import type { Message } from "./follower.ts";

/** Messages asked for ahead of the reader. */
export const TAIL_AHEAD = 50;

/** From sequence `from` on, until the signal aborts. */
export async function* tail(
  bus: Bus,
  options: { stream: string; subjects: string[]; from: number; signal: AbortSignal },
): AsyncGenerator<Message, void> {
  const { signal } = options;
  const consumer = await bus.js.consumers.get(options.stream, {
    filter_subjects: options.subjects,
    deliver_policy: DeliverPolicy.StartSequence,
    opt_start_seq: Math.max(1, options.from),
    inactive_threshold: 60_000,
  });
  const messages = await consumer.consume({ max_messages: TAIL_AHEAD, expires: 30_000 });
  const stop = () => void messages.close();
  signal.addEventListener("abort", stop);
  try {
    if (signal.aborted) return;
    for await (const message of messages) {
      yield {
        subject: message.subject,
        payload: message.data,
        sequence: message.seq,
        timeMs: Number(message.timestampNanos / 1_000_000n),
      };
      if (signal.aborted) return;
    }
  } finally {
    signal.removeEventListener("abort", stop);
    stop();
    // Otherwise the broker keeps it until it has been idle for long.
    void consumer.delete().catch(() => {});
  }
}
