// Builders for tests of the scheduler's decisions; what is not given is the ordinary case.
import { Fleet } from "../../services/scheduler/fleet.ts";
import type { Reservation } from "../../services/scheduler/fleet-host.ts";
import { type Demand, QueueEntry } from "../../services/scheduler/queue-entry.ts";
import type { Situation } from "../../services/scheduler/situation.ts";
import { DEFAULT_SETTINGS } from "../../shared/config/settings.ts";
import type { Heartbeat } from "../../shared/contracts/heartbeat.ts";
import { heartbeat } from "./heartbeats.ts";

export const GIB = 1_073_741_824;

/** A task that waits for its first attempt and asks for 1 GiB and one core. */
export function queued(overrides: Partial<QueueEntry> = {}): QueueEntry {
  const { taskId = "t1", sequence = 1, ...others } = overrides;
  const demand: Demand = {
    priority: "normal",
    repository: "acme/shop",
    type: "pr_deployment",
    memorySource: "request",
    memoryLimitBytes: null,
    cacheKey: "shop",
    runner: "command",
    constraints: null,
    secrets: null,
    fork: false,
    timeoutMs: 1_800_000,
    budget: null,
    memoryBytes: GIB,
    cpus: 1,
  };
  const rest = Object.entries(others);
  const wanted = Object.fromEntries(rest.filter(([name]) => name in demand));
  const own = Object.fromEntries(rest.filter(([name]) => !(name in demand)));
  return Object.assign(new QueueEntry(taskId, sequence, { ...demand, ...wanted }), { after: 1 }, own);
}

export const situation = (overrides: Partial<Situation> = {}): Situation => ({
  nowMs: 0,
  brokerNowMs: 0,
  silenceMs: 15_000,
  policy: "resource",
  weights: DEFAULT_SETTINGS["placement.weights"],
  barred: new Set(),
  usual: () => null,
  random: () => 0,
  ...overrides,
});

/** Of another repository, next to nothing, just begun. */
export const reservation = (overrides: Partial<Reservation> = {}): Reservation => ({
  repository: "acme/other",
  type: "pr_deployment",
  runner: "command",
  priority: "normal",
  attempt: 1,
  preempted: 0,
  memoryBytes: 1,
  cpus: 1,
  sinceMs: 0,
  startedAtMs: 0,
  timeoutMs: 1_800_000,
  ...overrides,
});

interface HostDraft extends Partial<Heartbeat> {
  heardAtMs?: number;
  avoidUntilMs?: number;
  runs?: Partial<Reservation>[];
}

/** Hosts by their names. */
export function fleetOf(drafts: Record<string, HostDraft>): Fleet {
  const fleet = new Fleet();
  for (const [hostId, { heardAtMs = 0, avoidUntilMs = 0, runs = [], ...about }] of Object.entries(drafts)) {
    fleet.hear(heartbeat({ hostId, ...about }), heardAtMs);
    if (avoidUntilMs > 0) fleet.avoid(hostId, avoidUntilMs, "full");
    for (const [number, run] of runs.entries())
      fleet.reserve(hostId, `${hostId}-${number}`, reservation(run));
  }
  return fleet;
}
