// Puts a message that nobody can decode onto DEAD, keyed by its sequence: however many try, it is there once.
import { type DeadMessage, deadSubject } from "../contracts/dead.ts";
import type { Bus } from "./connect.ts";
import { publishOnce } from "./publish-once.ts";
import { DEAD } from "./streams.ts";

/** Rejects when the bus does not answer, or has no room. */
export const setAside = (bus: Bus, message: DeadMessage): Promise<"stored" | "was there"> =>
  publishOnce(bus, DEAD, deadSubject.build({ sequence: String(message.sequence) }), message);
