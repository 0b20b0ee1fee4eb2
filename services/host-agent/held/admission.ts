// Whether this host takes one more attempt: the one judge of its own capacity. Pure.
import {
  constraintInWords,
  constraintsOf,
  type Labelled,
  meets,
} from "../../../shared/contracts/constraint.ts";
import { REQUEST_DEFAULTS, runnerOf, strangersProblem } from "../../../shared/contracts/deploy-request.ts";
import { diskFloorBytes } from "../../../shared/contracts/disk-floor.ts";
import type { RunOrder, RunReply } from "../../../shared/contracts/order.ts";
import { lackingSecrets, type OfferedSecret, wantedSecrets } from "../../../shared/contracts/secret.ts";

export interface Capacity extends Labelled {
  slots: number;
  runners: readonly string[];
  secrets: readonly OfferedSecret[];
  /** It was told to take the work of strangers, and keeps its instances apart. */
  takesStrangers: boolean;
  cores: number;
  memoryTotalBytes: number;
  memoryAvailableBytes: number;
  /**
   * Of the virtual machine that attempts share, where they do: by its own word, or by its settings while it is not up;
   * null while nobody knows.
   */
  vmMemoryBytes?: number | null;
  diskTotalBytes: number;
  diskFreeBytes: number;
  draining: boolean;
  /** Why nothing may begin just now, by its owner's word or because it cannot tell how it is; null if it may. */
  withheld: string | null;
}

export interface Admitted {
  memoryBytes: number;
  /** Since it was admitted, ms. */
  ageMs: number;
}

const MEMORY_SHARE = 0.95;
/** An attempt younger than this may not have reached the memory it will use, ms. */
const MEMORY_RAMP_MS = 45_000;

export type Refusal = Extract<RunReply, { outcome: "refused" }>;
export const refused = (reason: Refusal["reason"], message: string): Refusal => ({
  outcome: "refused",
  reason,
  message,
});

/** Null if the attempt may begin; what it asks for is then counted until it has ended. */
export function refusalOf(order: RunOrder, capacity: Capacity, admitted: Iterable<Admitted>): Refusal | null {
  const { request } = order;
  if (capacity.draining) return refused("draining", "this host is draining");
  if (capacity.withheld !== null)
    return refused("withheld", `this host begins no work: ${capacity.withheld}`);
  if (request.fork === true && !capacity.takesStrangers)
    return refused("policy", "this host takes no work from forks");
  const near = strangersProblem(request);
  if (near !== null) return refused("policy", near);
  const runner = runnerOf(request);
  if (runner !== null && !capacity.runners.includes(runner))
    return refused("runner", `this host has no runner ${runner}`);
  const unmet = constraintsOf(request)?.find((constraint) => !meets(capacity, constraint));
  if (unmet !== undefined)
    return refused("labels", `this host's labels do not meet: ${constraintInWords(unmet)}`);
  const secrets = wantedSecrets(request);
  const lacking = secrets === null ? [] : lackingSecrets(secrets, capacity.secrets);
  if (lacking.length > 0)
    return refused("policy", `this host has no ${lacking.join(", ")} for this repository`);
  const { memoryBytes: wanted, cpus } = countedOf(order);
  if (cpus > capacity.cores)
    return refused("cpu", `${cpus} CPUs are asked for; this host has ${capacity.cores}`);
  if (capacity.diskFreeBytes < diskFloorBytes(capacity.diskTotalBytes))
    return refused("disk", `${mebi(capacity.diskFreeBytes)} MiB of disk are free: too little for any work`);
  let count = 0;
  let reserved = 0;
  let young = 0;
  for (const other of admitted) {
    count++;
    reserved += other.memoryBytes;
    if (other.ageMs < MEMORY_RAMP_MS) young += other.memoryBytes;
  }
  if (count >= capacity.slots) return refused("full", `all ${capacity.slots} slots are taken`);
  const free = Math.min(
    capacity.memoryAvailableBytes - young,
    MEMORY_SHARE * capacity.memoryTotalBytes - reserved,
  );
  if (wanted > free)
    return refused("memory", `${mebi(wanted)} MiB are asked for; ${mebi(Math.max(0, free))} MiB are free`);
  return null;
}

/** What is counted for an attempt while it is here. */
export const countedOf = ({ request, memoryBytes }: RunOrder): { memoryBytes: number; cpus: number } => ({
  memoryBytes: memoryBytes ?? request.resources?.memoryBytes ?? REQUEST_DEFAULTS.memoryBytes,
  cpus: request.resources?.cpus ?? REQUEST_DEFAULTS.cpus,
});

export const mebi = (bytes: number): number => Math.round(bytes / 1_048_576);
