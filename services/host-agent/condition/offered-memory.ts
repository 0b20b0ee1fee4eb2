// What of a machine's memory attempts may have: their owner's part is never given out, and nothing at all while it is too
// short for what runs already. Pure.
import type { MemoryReading, VmReading } from "../../../shared/contracts/heartbeat.ts";

/** Of the time, what may be spent on waiting for memory. */
const PRESSURE = 0.2;
/** An attempt at its own limit waits as well, however much the others have left: then more than this is available. */
const AVAILABLE_SHARE = 0.25;

/**
 * `keptBytes` stay free for the owner, whatever runs. Where attempts run in a virtual machine, what they take has to be
 * free in there and on the machine around it: the VM's memory is the machine's too, taken as it is used.
 */
export function offeredMemory(
  machine: MemoryReading,
  vm: MemoryReading | null,
  keptBytes: number,
): MemoryReading {
  const least = (of: keyof MemoryReading) =>
    Math.max(0, Math.min(machine[of] - keptBytes, vm?.[of] ?? Number.POSITIVE_INFINITY));
  return { totalBytes: least("totalBytes"), availableBytes: least("availableBytes") };
}

/**
 * Why nothing more may begin in a virtual machine that is busy with finding memory, in words; null while it is not, or
 * its kernel does not say. What is available there may look like enough for long after that has begun.
 */
export function shortOfMemory(vm: VmReading | null): string | null {
  const { pressure = 0, availableBytes = 0, totalBytes = 0 } = vm ?? {};
  if (pressure < PRESSURE || availableBytes > AVAILABLE_SHARE * totalBytes) return null;
  return `what runs in its virtual machine waits for memory ${Math.round(100 * pressure)} % of the time`;
}
