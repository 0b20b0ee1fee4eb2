// What an attempt may have of memory, and what those that share one virtual machine may have together: if that ran out
// of memory, it would end for all of them. Pure.
import type { RunReply } from "../../shared/contracts/order.ts";
import { type DeployRequest, REQUEST_DEFAULTS } from "../../shared/contracts/task.ts";

/** For the virtual machine's own kernel and services. */
const OWN_BYTES = 1_073_741_824;

/** Σ of the limits of attempts at once, bytes. On the host's own memory, which has an owner, nothing bounds it. */
const limitsRoom = (vmMemoryBytes: number | undefined): number =>
  vmMemoryBytes === undefined ? Number.POSITIVE_INFINITY : Math.max(0, vmMemoryBytes - OWN_BYTES);

/** What the request says, in bytes; else the default, or all the room where that is less. */
export const memoryLimitOf = (
  { limits }: Pick<DeployRequest, "limits">,
  vmMemoryBytes: number | undefined,
): number => limits?.memoryBytes ?? Math.min(REQUEST_DEFAULTS.memoryLimitBytes, limitsRoom(vmMemoryBytes));

/** Null if an attempt of this limit may begin beside those at work. */
export function limitRefusalOf(
  limitBytes: number,
  atWork: Iterable<{ memoryLimitBytes: number }>,
  vmMemoryBytes: number | undefined,
): Extract<RunReply, { outcome: "refused" }> | null {
  const room = limitsRoom(vmMemoryBytes);
  let limits = limitBytes;
  for (const { memoryLimitBytes } of atWork) limits += memoryLimitBytes;
  if (limits <= room && room > 0) return null;
  const message = `memory limits would come to ${mebi(limits)} MiB; the virtual machine has ${mebi(room)} MiB for them`;
  return { outcome: "refused", reason: "memory", message };
}

const mebi = (bytes: number): number => Math.round(bytes / 1_048_576);
