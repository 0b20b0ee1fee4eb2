// What would make a task run that no host can take now: which host, on what condition, and when, as far as that is
// known. Pure.
import { constraintInWords } from "../../shared/contracts/constraint.ts";
import { lackingSecrets } from "../../shared/contracts/secret.ts";
import { refusal } from "./feasible.ts";
import type { FleetHost, Reservation } from "./fleet-host.ts";
import type { QueueEntry } from "./queue-entry.ts";
import { MEMORY_SHARE } from "./room.ts";
import type { Situation } from "./situation.ts";

export interface Remedy {
  words: string;
  /** By how long attempts of the repositories took that run there; null where that is not known. */
  inMs: number | null;
}

/** Null where nobody knows any. */
export function remedy(task: QueueEntry, hosts: readonly FleetHost[], situation: Situation): Remedy | null {
  let best: (Room & { host: FleetHost }) | null = null;
  for (const host of hosts) {
    if (refusal(task, host, situation) === "avoided")
      return { words: `would run on ${host.id} within moments`, inMs: 0 };
    const room = roomAfter(host, task, situation);
    if (room !== null && (best === null || isSooner(room, best))) best = { ...room, host };
  }
  return best === null
    ? (reopening(task, hosts, situation) ?? wanting(task, hosts))
    : roomInWords(best.host, best);
}

interface Room {
  /** Until enough attempts there have ended; null if not even all of them are enough. */
  ms: number | null;
  /** It is how long such attempts take, not their time-outs. */
  isTypical: boolean;
  /** Bytes that are not free yet. */
  lacking: number;
  needsSlot: boolean;
}

/** Known times first, then time-outs, then what only the machine's owner can free. */
const isSooner = (one: Room, other: Room): boolean =>
  one.ms === null || other.ms === null
    ? other.ms === null && (one.ms !== null || one.lacking < other.lacking)
    : one.isTypical === other.isTypical
      ? one.ms < other.ms
      : one.isTypical;

/** When the host has room for the task, if nothing more is placed there; null if room is not what it lacks. */
export function roomAfter(host: FleetHost, task: QueueEntry, situation: Situation): Room | null {
  const refused = refusal(task, host, situation);
  if (refused !== "slots" && refused !== "memory") return null;
  if (MEMORY_SHARE * host.totalBytes < task.memoryBytes) return null;
  const lacking = task.memoryBytes - host.freeBytes;
  const needsSlot = refused === "slots";
  const attempts = [...host.reservations.values()]
    .map((attempt) => remaining(attempt, situation))
    .sort((one, other) => one.ms - other.ms);
  let freed = 0;
  let isTypical = true;
  for (const [index, attempt] of attempts.entries()) {
    freed += attempt.memoryBytes;
    isTypical &&= attempt.isTypical;
    if (host.running - index - 1 < host.slots && freed >= lacking)
      return { ms: attempt.ms, isTypical, lacking, needsSlot };
  }
  return { ms: null, isTypical: false, lacking, needsSlot };
}

function roomInWords({ id }: FleetHost, { ms, isTypical, lacking, needsSlot }: Room): Remedy {
  const condition =
    lacking > 0
      ? `${gigabytes(lacking)} GB more are free${needsSlot ? ", and a slot" : ""}`
      : "a slot is free";
  const words = `would run on ${id} when ${condition}`;
  if (ms === null) return { words, inMs: null };
  return isTypical
    ? { words: `${words}, about ${minutes(ms)}`, inMs: ms }
    : { words: `${words}, in ${minutes(ms)} at most`, inMs: null };
}

/** How long an attempt still runs: as long as others like it did, or else as most of them did, or until its time-out. */
function remaining(attempt: Reservation, { brokerNowMs, usual }: Situation) {
  const { startedAtMs, timeoutMs, memoryBytes } = attempt;
  const elapsedMs = brokerNowMs - startedAtMs;
  const { p50 = 0, p95 = 0 } = usual(attempt)?.durationMs ?? {};
  const typical = [p50, p95].find((ms) => ms > elapsedMs);
  const ms = Math.max(0, (typical ?? timeoutMs) - elapsedMs);
  return { ms, memoryBytes, isTypical: typical !== undefined };
}

/** A host that is only away, or closed to new work. */
function reopening(task: QueueEntry, hosts: readonly FleetHost[], situation: Situation): Remedy | null {
  for (const host of hosts) {
    const away = situation.nowMs - host.heardAtMs > situation.silenceMs;
    if (!away && host.closed === null) continue;
    const reopened = { ...host, closed: null, heardAtMs: situation.nowMs };
    const refused = refusal(task, reopened, situation);
    if (refused !== null && refused !== "slots" && refused !== "memory") continue;
    return { words: `would run on ${host.id} ${away ? "if it were back" : onceOpen(host)}`, inMs: null };
  }
  return null;
}

function onceOpen({ closed, heartbeat: { withheld } }: FleetHost): string {
  if (closed !== "withheld") return `if it were ${closed} no longer`;
  return withheld?.until ? `from ${withheld.until} on` : "if it began work again";
}

/** What no host has. */
function wanting(task: QueueEntry, hosts: readonly FleetHost[]): Remedy | null {
  if (hosts.length === 0) return { words: "would run if a host joined", inMs: null };
  const needs = [
    ...(task.fork ? ["took work from forks (MESH_HOST_UNTRUSTED=1)"] : []),
    ...(task.constraints === null ? [] : [`met ${task.constraints.map(constraintInWords).join(" and ")}`]),
    ...hadSecrets(task, hosts),
    ...(hosts.every(({ cores }) => cores < task.cpus) ? [`had ${task.cpus} CPUs`] : []),
    ...(hosts.every(({ totalBytes }) => MEMORY_SHARE * totalBytes < task.memoryBytes)
      ? [`had ${gigabytes(task.memoryBytes / MEMORY_SHARE)} GB of memory`]
      : []),
  ];
  return needs.length === 0 ? null : { words: `would run if a host ${needs.join(" and ")}`, inMs: null };
}

function hadSecrets({ secrets }: QueueEntry, hosts: readonly FleetHost[]): string[] {
  if (secrets === null) return [];
  const { names, repository } = secrets;
  if (hosts.some(({ heartbeat }) => lackingSecrets(secrets, heartbeat.secrets).length === 0)) return [];
  if (repository === null)
    return ["had secrets for its clone URL, which only https:// and ssh:// ones can have"];
  return [`had ${names.join(" and ")} for ${repository} (mesh host secret set)`];
}

export const gigabytes = (bytes: number): string => (Math.max(0, bytes) / 1e9).toFixed(1);

const minutes = (ms: number): string =>
  ms < 60_000
    ? "a minute"
    : ms < 120 * 60_000
      ? `${Math.ceil(ms / 60_000)} minutes`
      : `${Math.ceil(ms / 3_600_000)} hours`;
