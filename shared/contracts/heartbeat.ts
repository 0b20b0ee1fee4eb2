// What a host says about itself every few seconds. The server's acknowledgement of it renews the host's
// lease, and the last one of each host stays on stream HOSTS for late readers.
import { z } from "zod";
import { HostId, TaskId } from "./ids.ts";
import { OfferedSecret } from "./secret.ts";
import { subject } from "./subject.ts";

export const heartbeatSubject = subject("mesh.host.{hostId}.heartbeat");

/** What only people are told: another version's, which this one cannot read, is as good as none, and no host is away for it. */
const forPeople = <Reading extends z.ZodType>(reading: Reading) => reading.optional().catch(undefined);

/** An attempt from before its `started` is sent until its end is on the log, running or frozen. */
export const HeldAttempt = z.object({
  taskId: TaskId,
  attempt: z.int().positive(),
  nonce: z.string(),
  /** What it uses now: bytes, cores' worth of CPU time. What nobody can tell is left out. */
  use: forPeople(z.object({ memoryBytes: z.number().optional(), cpus: z.number().optional() })),
});
export type HeldAttempt = z.infer<typeof HeldAttempt>;

export const MemoryReading = z.object({ totalBytes: z.number(), availableBytes: z.number() });
export type MemoryReading = z.infer<typeof MemoryReading>;

/** `pressure`: share of the last ten seconds in which something there waited for memory, where its kernel says. */
const VmReading = MemoryReading.extend({ pressure: z.number().optional() });
export type VmReading = z.infer<typeof VmReading>;

/** What the machine is seen to be doing for its owner; `unknown` is what nobody there can tell. */
export const OwnerReading = z.object({
  power: z.enum(["ac", "battery", "unknown"]),
  presence: z.enum(["present", "away", "unknown"]),
  /** For how long nobody has used it, ms; null where that is not known. */
  idleMs: z.number().nonnegative().nullable(),
});
export type OwnerReading = z.infer<typeof OwnerReading>;

/** Why nothing may begin on a host just now, by its own word, in words. */
export const Withheld = z.object({
  why: z.string(),
  /** When the clock alone changes that; null where it does not, or not for certain. */
  until: z.iso.datetime().nullable(),
});
export type Withheld = z.infer<typeof Withheld>;

/** Bytes, cores, and shares between 0 and 1; times in ms. */
export const Heartbeat = z.object({
  hostId: HostId,
  /** Random, of the host's data folder: tells two machines that were given one id apart. */
  installation: z.string(),
  /** Lives of this installation's host agent, counted; with `counter` it orders its heartbeats. */
  boot: z.int().positive(),
  counter: z.int().positive(),
  heartbeatMs: z.int().positive(),
  /** `mhz`: of its fastest core, as the machine says; 0 if it does not. */
  cpu: z.object({ cores: z.number(), busy: z.number(), mhz: z.number().default(0) }),
  /** What attempts may have. */
  memory: MemoryReading,
  /** Why: the whole machine, the virtual machine that they run in if they do, and what stays free for its owner. */
  memoryOf: forPeople(z.object({ machine: MemoryReading, vm: VmReading.nullable(), keptBytes: z.number() })),
  /** The clock of the virtual machine that attempts run in, less the machine's own, ms; left out where there is none. */
  vmClockAheadMs: forPeople(z.number()),
  disk: z.object({ totalBytes: z.number(), freeBytes: z.number() }),
  slots: z.object({ total: z.int(), free: z.int() }),
  /** Σ of what its attempts asked for. */
  reserved: z.object({ memoryBytes: z.number(), cpus: z.number() }),
  attempts: z.array(HeldAttempt),
  labels: z.record(z.string(), z.string()),
  /** Keys of the repositories whose clones it keeps (`shared/repository/cache-key.ts`), in their order. */
  caches: z.array(z.string()).max(1_000).default([]),
  runners: z.array(z.string()),
  /** The names of secrets that it has for tasks, and for which repositories. */
  secrets: z.array(OfferedSecret).max(100).default([]).catch([]),
  /** How attempts are kept apart: `namespaces`, or `process-group` where the kernel gives no more. */
  isolation: z.string(),
  /** What it can give attempts of the network (`shared/contracts/network.ts`). */
  networks: forPeople(z.array(z.string())),
  /** What holds attempts to their limits: `control-group`, `watched` (looked at now and then), or `none`. */
  limits: forPeople(z.object({ memory: z.string(), processes: z.string(), cpus: z.string() })),
  /** It takes the work of strangers: pull requests from forks. */
  untrusted: z.boolean().default(false),
  draining: z.boolean(),
  /** It has been told to stop: it drains, and ends once nothing runs there. */
  stopping: z.boolean().default(false),
  owner: forPeople(OwnerReading),
  /** By its owner's rules, for want of memory, or because it cannot tell how it is; null while it takes work. */
  withheld: Withheld.nullable().default(null),
  /** When it last woke, or went on after it had stood still, if it has in its life. */
  lastResume: forPeople(z.object({ at: z.iso.datetime(), gapMs: z.number() })),
  versions: z.record(z.string(), z.string()),
});
export type Heartbeat = z.infer<typeof Heartbeat>;

/** A virtual machine's clock that is further off than this is wrong: less may be the time that its word took, ms. */
export const CLOCK_WRONG_MS = 2_000;

/** Whose heartbeat it is, by its subject; null for what no reader understands, or what speaks for another host. */
export function decodeHeartbeat(
  subjectText: string,
  payload: Uint8Array,
): { hostId: string; heartbeat: Heartbeat | null } | null {
  const parameters = heartbeatSubject.parse(subjectText);
  if (parameters === null) return null;
  const { hostId } = parameters;
  let json: unknown;
  try {
    json = JSON.parse(decoder.decode(payload));
  } catch {
    return { hostId, heartbeat: null };
  }
  const heartbeat = Heartbeat.safeParse(json);
  return { hostId, heartbeat: heartbeat.success && heartbeat.data.hostId === hostId ? heartbeat.data : null };
}

const decoder = new TextDecoder();
