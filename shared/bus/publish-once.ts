// A message that may be on its subject only once, whoever says it first, in a stream that keeps one of each subject and
// takes no other.
import { JetStreamApiError } from "@nats-io/jetstream";
import type { Bus } from "./connect.ts";
import { lastMessage } from "./read.ts";

/** Said of a subject that has its message, and of a stream that is full, alike. */
const NOT_STORED = 10077;

/** Rejects when the bus does not answer, or has no room. */
export async function publishOnce(
  bus: Bus,
  stream: string,
  subject: string,
  message: unknown,
): Promise<"stored" | "was there"> {
  try {
    await bus.js.publish(subject, JSON.stringify(message));
    return "stored";
  } catch (error) {
    const refused = error instanceof JetStreamApiError && error.code === NOT_STORED;
    if (refused && (await lastMessage(bus, stream, subject)) !== null) return "was there";
    throw error;
  }
}
