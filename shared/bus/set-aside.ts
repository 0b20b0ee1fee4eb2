// Puts a message that nobody can decode onto DEAD, keyed by its sequence: however many try, it is there once.
import { JetStreamApiError } from "@nats-io/jetstream";
import { type DeadMessage, deadSubject } from "../contracts/dead.ts";
import type { Bus } from "./connect.ts";

const ALREADY_THERE = 10077;

/** Rejects when the bus does not answer. */
export async function setAside(bus: Bus, message: DeadMessage): Promise<"stored" | "was there"> {
  try {
    await bus.js.publish(deadSubject.build({ sequence: String(message.sequence) }), JSON.stringify(message));
    return "stored";
  } catch (error) {
    if (error instanceof JetStreamApiError && error.code === ALREADY_THERE) return "was there";
    throw error;
  }
}
