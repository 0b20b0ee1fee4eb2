// What an attempt may have of memory, and what those that share one virtual machine may have together: if that ran out
// of memory, it would end for all of them. Pure.
import { type DeployRequest, REQUEST_DEFAULTS } from "../../../shared/contracts/deploy-request.ts";
import { mebi, type Refusal, refused } from "./admission.ts";

/** For the virtual machine's own kernel and services. */
export const VM_OWN_BYTES = 1_073_741_824;

/** Σ of the limits of attempts at once, bytes. On the host's own memory, which has an owner, nothing bounds it. */
const limitsRoom = (vmMemoryBytes: number | null | undefined): number =>
  typeof vmMemoryBytes !== "number" ? Number.POSITIVE_INFINITY : Math.max(0, vmMemoryBytes - VM_OWN_BYTES);

/** What the request says, in bytes; else the default, or all the room where that is less. */
export const memoryLimitOf = (
  { limits }: Pick<DeployRequest, "limits">,
  vmMemoryBytes: number | null | undefined,
): number => limits?.memoryBytes ?? Math.min(REQUEST_DEFAULTS.memoryLimitBytes, limitsRoom(vmMemoryBytes));

/** Null if an attempt of this limit may begin beside those at work. */
export function limitRefusalOf(
  limitBytes: number,
  atWork: Iterable<{ memoryLimitBytes: number }>,
  vmMemoryBytes: number | null | undefined,
): Refusal | null {
  // What began now might take it down, and all that runs there.
  if (vmMemoryBytes === null)
    return refused("not-ready", "the virtual machine of this host has not told of its memory yet");
  const room = limitsRoom(vmMemoryBytes);
  let limits = limitBytes;
  for (const { memoryLimitBytes } of atWork) limits += memoryLimitBytes;
  if (limits <= room && room > 0) return null;
  return refused(
    "memory",
    `memory limits would come to ${mebi(limits)} MiB; the virtual machine has ${mebi(room)} MiB for them`,
  );
}
