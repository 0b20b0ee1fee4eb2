// The whole decision about a queued task, for whoever asks: every host's refusal or score, in words, and what would
// make the task run. Pure; no decision is made by it.
import { constraintInWords, meets } from "../../shared/contracts/constraint.ts";
import { CANDIDATES_MAX, type Candidate, type Outlook } from "../../shared/contracts/outlook.ts";
import { lackingSecrets } from "../../shared/contracts/secret.ts";
import { CHECKS, type Check, refusal } from "./feasible.ts";
import type { Fleet } from "./fleet.ts";
import type { FleetHost } from "./fleet-host.ts";
import { count, inWords, place, REFUSED, toReceipt } from "./placement.ts";
import type { QueueEntry } from "./queue-entry.ts";
import { explainScore } from "./rank.ts";
import { gigabytes, remedy } from "./remedy.ts";
import type { Situation } from "./situation.ts";

/** Why a task is not placed, whatever hosts there are. */
export interface HeldUp {
  words: string;
  /** What would make it run, where that is known. */
  wouldRun: string | null;
  /** Until then, where that is known. */
  inMs: number | null;
}

interface Asked {
  /** Tasks that come before it. */
  ahead: number;
  /** Null if it is not placed only for want of a host. */
  heldUp: HeldUp | null;
  at: Date;
}

export function outlookOf(
  task: QueueEntry,
  fleet: Fleet,
  situation: Situation,
  { ahead, heldUp, at }: Asked,
): Outlook {
  const placement = place(task, fleet, situation);
  const hosts = fleet.regard(task, situation.nowMs);
  const isFree = placement.host !== null && heldUp === null;
  const found = placement.host === null ? remedy(task, hosts, situation) : null;
  const summary =
    heldUp?.words ??
    (placement.host === null ? refusedInWords(task, hosts, situation) : inWords(placement, situation.policy));
  const before = ahead === 0 || found === null ? "" : ` (${count(ahead, "task")} before it)`;
  return {
    receipt: toReceipt(task, isFree ? placement : { ...placement, host: null }, situation, at, summary),
    position: ahead + 1,
    candidates: candidatesOf(task, hosts, situation),
    wouldRun: heldUp === null ? (found === null ? null : found.words + before) : heldUp.wouldRun,
    etaMs: isFree && ahead === 0 ? 0 : until((heldUp ?? found)?.inMs ?? null, ahead, hosts, situation),
    usual: situation.usual(task),
  };
}

/** Hosts that could take it first, the best of them before the others. */
function candidatesOf(task: QueueEntry, hosts: readonly FleetHost[], situation: Situation): Candidate[] {
  return hosts
    .map((host): Candidate => {
      const refused = refusal(task, host, situation);
      const score = refused === null ? explainScore(task, host, situation.weights) : null;
      const words = refused === null ? "could take it" : whyNot(task, host, refused);
      return { hostId: host.id, refusal: refused, words, score };
    })
    .sort((one, other) => (other.score?.total ?? -1) - (one.score?.total ?? -1))
    .slice(0, CANDIDATES_MAX);
}

const unmet = (task: QueueEntry, { heartbeat }: FleetHost): string => {
  const constraint = task.constraints?.find((one) => !meets(heartbeat, one));
  return constraint === undefined ? "" : constraintInWords(constraint);
};

const lacking = ({ secrets }: QueueEntry, { heartbeat }: FleetHost): string =>
  secrets === null ? "" : lackingSecrets(secrets, heartbeat.secrets).join(", ");

/** Hosts whose own reasons are told in one sentence. */
const NAMED = 3;

const withheldInWords = ({ heartbeat }: FleetHost): string => heartbeat.withheld?.why ?? "";

/** Of one host: `has 1.1 of 4.0 GB free`. */
function whyNot(task: QueueEntry, host: FleetHost, refused: Check): string {
  switch (refused) {
    case "withheld":
      return `begins no work: ${withheldInWords(host)}`;
    case "labels":
      return `does not meet ${unmet(task, host)}`;
    case "secrets":
      return `has no ${lacking(task, host)} for this repository`;
    case "memory":
      return `has ${gigabytes(host.freeBytes)} of ${gigabytes(task.memoryBytes)} GB free`;
    case "cpus":
      return `has ${host.cores} of ${task.cpus} CPUs`;
    case "slots":
      return `has no free slot of ${host.slots}`;
    case "avoided":
      return `refused: ${host.avoidedFor}`;
    default:
      return REFUSED[refused].one;
  }
}

/** Of all hosts: `8 hosts: 3 draining, 2 do not meet gpu, 2 have at most 1.1 of 4.0 GB free, 1 refused: full`. */
function refusedInWords(task: QueueEntry, hosts: readonly FleetHost[], situation: Situation): string {
  if (hosts.length === 0) return "no host has joined the mesh";
  const groups = new Map<string, { check: Check; hosts: FleetHost[] }>();
  for (const host of hosts) {
    const check = refusal(task, host, situation);
    if (check === null) continue;
    const about = aboutOf(task, host, check);
    const group = groups.get(`${check} ${about}`) ?? { check, hosts: [] };
    group.hosts.push(host);
    groups.set(`${check} ${about}`, group);
  }
  const words = [...groups.values()]
    .sort((one, other) => CHECKS.indexOf(one.check) - CHECKS.indexOf(other.check))
    .map(({ check, hosts: refused }) => `${refused.length} ${groupInWords(task, check, refused)}`);
  return `${count(hosts.length, "host")}: ${words.join(", ")}`;
}

/** Hosts that are refused by one check for different reasons are told apart. */
function aboutOf(task: QueueEntry, host: FleetHost, check: Check): string {
  if (check === "labels") return unmet(task, host);
  if (check === "secrets") return lacking(task, host);
  return check === "avoided" ? host.avoidedFor : "";
}

function groupInWords(task: QueueEntry, check: Check, hosts: FleetHost[]): string {
  const [only] = hosts as [FleetHost];
  if (hosts.length === 1) return whyNot(task, only, check);
  switch (check) {
    case "withheld": {
      const reasons = hosts.slice(0, NAMED).map((host) => `${host.id}: ${withheldInWords(host)}`);
      const more = hosts.length > NAMED ? [`and ${hosts.length - NAMED} more`] : [];
      return `begin no work (${[...reasons, ...more].join("; ")})`;
    }
    case "labels":
      return `do not meet ${unmet(task, only)}`;
    case "secrets":
      return `have no ${lacking(task, only)} for this repository`;
    case "memory": {
      const most = Math.max(...hosts.map(({ freeBytes }) => freeBytes));
      return `have at most ${gigabytes(most)} of ${gigabytes(task.memoryBytes)} GB free`;
    }
    case "cpus":
      return `have at most ${Math.max(...hosts.map(({ cores }) => cores))} of ${task.cpus} CPUs`;
    case "avoided":
      return `refused: ${only.avoidedFor}`;
    default:
      return REFUSED[check].more;
  }
}

/** Those before it are placed as fast as attempts end, if it is known how fast they do. */
function until(
  inMs: number | null,
  ahead: number,
  hosts: readonly FleetHost[],
  { usual }: Situation,
): number | null {
  if (inMs === null || ahead === 0) return inMs;
  let endsPerMs = 0;
  for (const host of hosts)
    for (const attempt of host.reservations.values()) {
      const typical = usual(attempt)?.durationMs;
      if (typical === undefined) return null;
      endsPerMs += 1 / Math.max(1, typical.p50);
    }
  return endsPerMs === 0 ? null : inMs + ahead / endsPerMs;
}
