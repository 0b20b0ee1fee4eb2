// What a new attempt may count on of a host: what is measured there, less what its own attempts will still take. Pure.
import type { Heartbeat } from "../../shared/contracts/heartbeat.ts";
import type { Footprint } from "./queue-entry.ts";

/** An attempt may take so long to reach the memory and the CPU it will use. */
export const RAMP_MS = 45_000;

/** Of a host's memory, this share is given out at most. */
export const MEMORY_SHARE = 0.95;

/**
 * `reserved`: Σ of what its attempts asked for; `young`: of those younger than the ramp. What is measured has in it
 * whatever else the machine does, its owner's work above all; until the next heartbeat the young ones use more of it.
 */
export const freeBytes = (
  { memory, heartbeatMs }: Heartbeat,
  reserved: Footprint,
  young: Footprint,
): number =>
  Math.min(
    memory.availableBytes - (1 + heartbeatMs / RAMP_MS) * young.memoryBytes,
    MEMORY_SHARE * memory.totalBytes - reserved.memoryBytes,
  );

/** An attempt may use so much more than it asked for, as a share of that. */
export const OVERUSE = 0.5;
/** What a machine's owner uses may grow by so much of its memory. */
const OWNER_SHARE = 0.05;

/** Bytes that nothing tells of yet and that may turn out to be used: by young attempts, and by the owner. */
export const unknownBytes = ({ memory }: Heartbeat, young: Footprint): number =>
  OVERUSE * young.memoryBytes + OWNER_SHARE * memory.totalBytes;

export const freeCpus = ({ cpu }: Heartbeat, reserved: Footprint, young: Footprint): number =>
  Math.min(cpu.cores * (1 - cpu.busy) - young.cpus, cpu.cores - reserved.cpus);
