// What became of patches that were to be pushed, as it lies on the bus: one record for each task, whoever tries.
import { PushRecord, PushView, pushSubject } from "../contracts/push.ts";
import type { Bus } from "./connect.ts";
import { hasLeader } from "./leadership.ts";
import { publishOnce } from "./publish-once.ts";
import { lastMessage } from "./read.ts";
import { PUSHES } from "./streams.ts";

/** Of the gateways that may push anywhere, one does. */
export const PUSHER_ROLE = "push";

/** Rejects when the bus does not answer, or has no room. */
export const recordPush = (bus: Bus, taskId: string, record: PushRecord): Promise<"stored" | "was there"> =>
  publishOnce(bus, PUSHES, pushSubject.build({ taskId }), record);

/** As its stream's leader knows it now. */
export async function pushOf(bus: Bus, taskId: string): Promise<PushView> {
  const stored = await lastMessage(bus, PUSHES, pushSubject.build({ taskId }));
  const record = stored && readPush(stored.payload);
  if (stored === null || record === null)
    return { state: "wanted", pusher: await hasLeader(bus, PUSHER_ROLE) };
  return PushView.parse({ ...record, at: new Date(stored.timeMs).toISOString() });
}

/** Null for what nobody can read. */
export function readPush(payload: Uint8Array): PushRecord | null {
  try {
    return PushRecord.parse(JSON.parse(new TextDecoder().decode(payload)));
  } catch {
    return null;
  }
}
