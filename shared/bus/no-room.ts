// How a bus says that it has no room for one more message.
import { JetStreamApiError } from "@nats-io/jetstream";

/** Of the account, of the server; and what a disk says. */
const CODES = new Set([10002, 10023, 10047, 10077]);

export const isNoRoom = (error: unknown): boolean =>
  error instanceof JetStreamApiError && CODES.has(error.code);
