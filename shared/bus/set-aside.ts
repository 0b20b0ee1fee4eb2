// Puts a message that nobody can decode onto DEAD, keyed by its sequence: however many try, it is there once.
import { JetStreamApiError } from "@nats-io/jetstream";
import { type DeadMessage, deadSubject } from "../contracts/dead.ts";
import type { Bus } from "./connect.ts";
import { lastMessage } from "./read.ts";
import { DEAD } from "./streams.ts";

/** Said of a subject that has its message, and of a stream that is full, alike. */
const NOT_STORED = 10077;

/** Rejects when the bus does not answer, or has no room. */
export async function setAside(bus: Bus, message: DeadMessage): Promise<"stored" | "was there"> {
  const subject = deadSubject.build({ sequence: String(message.sequence) });
  try {
    await bus.js.publish(subject, JSON.stringify(message));
    return "stored";
  } catch (error) {
    const refused = error instanceof JetStreamApiError && error.code === NOT_STORED;
    if (refused && (await lastMessage(bus, DEAD, subject)) !== null) return "was there";
    throw error;
  }
}
