// What of a machine's memory attempts may have: their owner's part is never given out. Pure.
import type { MemoryReading } from "../../shared/contracts/heartbeat.ts";

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
