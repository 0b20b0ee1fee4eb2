// Whether the broker keeps streams, has the mesh's, and how far this machine's clock is from the broker's.
import { NoRespondersError, RequestError } from "nats";
import { z } from "zod";
import type { Bus } from "./connect.ts";
import { TASKS } from "./streams.ts";

/** `unknown`: it did not say, as to a host that may not ask. */
export type BrokerState =
  | { jetStream: "off" }
  | { jetStream: "unknown" }
  /** `aheadMs`: this machine's clock less the broker's, right within half the round trip. Null: it did not say. */
  | { jetStream: "on"; provisioned: boolean; aheadMs: number | null; roundTripMs: number };

const Reply = z.object({ ts: z.iso.datetime({ offset: true }).optional(), error: z.unknown().optional() });
const ASK_MS = 3_000;

export async function brokerState(bus: Bus): Promise<BrokerState> {
  const sentMs = Date.now();
  try {
    const message = await bus.connection.request(`$JS.API.STREAM.INFO.${TASKS}`, "", { timeout: ASK_MS });
    const roundTripMs = Date.now() - sentMs;
    const { ts, error } = Reply.parse(message.json());
    const aheadMs = ts === undefined ? null : sentMs + roundTripMs / 2 - Date.parse(ts);
    return { jetStream: "on", provisioned: error === undefined, aheadMs, roundTripMs };
  } catch (error) {
    const nobody =
      error instanceof NoRespondersError || (error instanceof RequestError && error.isNoResponders());
    return { jetStream: nobody ? "off" : "unknown" };
  }
}
