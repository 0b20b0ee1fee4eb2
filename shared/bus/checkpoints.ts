// Checkpoints of attempts as they lie on the bus: the latest whole one, and its chunks. Whoever reads one checks it
// against its record: a slot may be written again at any time.
import {
  CheckpointRecord,
  CheckpointSlot,
  type CheckpointView,
  checkpointSubject,
  chunkPart,
  RECORD_PART,
} from "../contracts/checkpoint.ts";
import type { Bus } from "./connect.ts";
import { lastMessage } from "./read.ts";
import { CHECKPOINTS } from "./streams.ts";

export interface CheckpointOwner {
  taskId: string;
  attempt: number;
  hostId: string;
}

/** The latest of the attempt that can be read; null if there is none. */
export async function latestCheckpoint(bus: Bus, owner: CheckpointOwner): Promise<CheckpointView | null> {
  const { attempt, hostId } = owner;
  let latest: { sequence: number; view: CheckpointView } | null = null;
  for (const slot of CheckpointSlot.options) {
    const stored = await lastMessage(bus, CHECKPOINTS, subjectOf(owner, slot, RECORD_PART));
    if (stored === null || stored.sequence < (latest?.sequence ?? 0)) continue;
    const record = CheckpointRecord.safeParse(jsonOf(stored.payload));
    if (record.success)
      latest = { sequence: stored.sequence, view: { ...record.data, attempt, hostId, slot } };
  }
  return latest?.view ?? null;
}

export const checkpointChunk = async (
  bus: Bus,
  owner: CheckpointOwner,
  slot: CheckpointSlot,
  number: number,
): Promise<Uint8Array | null> =>
  (await lastMessage(bus, CHECKPOINTS, subjectOf(owner, slot, chunkPart(number))))?.payload ?? null;

const subjectOf = ({ attempt, ...owner }: CheckpointOwner, slot: CheckpointSlot, part: string): string =>
  checkpointSubject.build({ ...owner, attempt: String(attempt), slot, part });

function jsonOf(payload: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(payload).toString());
  } catch {
    return null;
  }
}
