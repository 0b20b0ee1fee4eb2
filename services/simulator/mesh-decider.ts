// The mesh's own scheduler as the decider of a simulated run: its queue, its fleet, its passes and its policies, fed by
// the facts that would be on the log and by heartbeats, and answered by the hosts' own admission. Nothing is copied.

import { leaseTimes, probeAfterMs } from "../../shared/config/environment.ts";
import {
  DEFAULT_SETTINGS,
  type PlacementPolicy,
  type PlacementWeights,
} from "../../shared/config/settings.ts";
import type { DeployRequest } from "../../shared/contracts/deploy-request.ts";
import type { NewFact } from "../../shared/contracts/fact.ts";
import type { Answer } from "../../shared/contracts/failure.ts";
import type { Heartbeat } from "../../shared/contracts/heartbeat.ts";
import { LEASE, silenceMs } from "../../shared/contracts/lease.ts";
import type { RunOrder, RunReply } from "../../shared/contracts/order.ts";
import { Breakers } from "../../shared/lifecycle/breakers.ts";
import { FoldedLog } from "../../shared/lifecycle/folded-log.ts";
import { countedOf } from "../host-agent/held/admission.ts";
import { Dispatcher } from "../scheduler/dispatch.ts";
import { Fleet } from "../scheduler/fleet.ts";
import { Queue } from "../scheduler/queue.ts";
import { QueueIndex } from "../scheduler/queue-index.ts";
import { chance } from "./chance.ts";
import type { SimulatedHost } from "./simulated-host.ts";
import type { Kind } from "./workload.ts";
import { type Decider, SWEEP_MS, type World } from "./world.ts";

/** From the decision until the host has judged it and the log has it, ms. */
const ASK_MS = 5;
/** Turns of the microtask queue within which the dispatcher has said all that it says to one event. */
const TURNS = 20;
const RESULT = { exitCode: 0, durationMs: 0, phases: {}, checks: [], artifacts: [] };
const KILLED = { category: "resource", message: "the machine ran out of memory" } as const;

export interface MeshOptions {
  policy: PlacementPolicy;
  weights: PlacementWeights;
  learn: boolean;
  heartbeatMs: number;
  seed: number;
}

export function meshDecider(
  world: World,
  { policy, weights, learn, heartbeatMs, seed }: MeshOptions,
): Decider {
  const settings = {
    ...DEFAULT_SETTINGS,
    "placement.policy": policy,
    "placement.weights": weights,
    "placement.learn": learn,
  };
  const drawn = chance(seed, "scheduler");
  const { agenda, hosts, tally } = world;
  const times = leaseTimes((heartbeatMs * LEASE.leaseMs) / LEASE.heartbeatMs);
  const byId = new Map(hosts.map((host) => [host.id, host]));
  const queue = new Queue();
  const fleet = new Fleet();
  const index = new QueueIndex(queue, fleet, () => settings["placement.learn"]);
  const heard = hosts.map(() => ({ beat: null as Heartbeat | null, atMs: 0 }));
  let isOpen = false;
  let sweptAtMs = Number.NEGATIVE_INFINITY;
  let sequence = 0;

  const log = new FoldedLog((folded) => {
    index.apply(folded, agenda.nowMs);
    if (folded.after.state !== "queued") dispatcher.forget(folded.fact.taskId);
  });
  const say = (fact: NewFact) => log.apply({ ...fact, sequence: ++sequence, timeMs: agenda.nowMs });
  const lastSequence = (taskId: string) => log.tasks.get(taskId)?.lastSequence ?? 0;

  const judge = (hostId: string, order: RunOrder): Answer<RunReply> => {
    const host = byId.get(hostId) as SimulatedHost;
    const { taskId, attempt } = order;
    const refused = host.refusalOf(order, agenda.nowMs);
    tally.asked(refused !== null);
    if (refused !== null) return { ok: true, value: refused };
    const body = {
      after: lastSequence(taskId),
      attempt,
      nonce: "n",
      installation: "simulated",
      boot: 1,
      counter: 1,
    };
    say({ taskId, kind: "started", speaker: hostId, body });
    world.begin(taskOf(taskId), host, countedOf(order));
    return { ok: true, value: { outcome: "started", sequence } };
  };
  const dispatcher: Dispatcher = new Dispatcher(queue, fleet, silenceMs(times), {
    leads: () => isOpen,
    settings: () => settings,
    breakers: new Breakers(probeAfterMs(times.leaseMs)),
    budgets: index.budgets,
    nowMs: () => agenda.nowMs,
    brokerNowMs: () => agenda.nowMs,
    random: drawn.next,
    request: async (entry) => requestOf(taskOf(entry.taskId), world),
    ask: (hostId, order) =>
      new Promise((answer) =>
        agenda.at(agenda.nowMs + ASK_MS, () => {
          world.wake();
          answer(judge(hostId, order));
        }),
      ),
    held: () => null,
    usual: (work) => index.footprints.usual(work),
    // Nothing here is urgent.
    stop: () => {},
    publish: () => {},
    runsOn: (taskId) => {
      const task = log.tasks.get(taskId);
      return task?.active ? task.hostId : null;
    },
  });
  // Everybody is known before the first task comes. Who says the same again is heard only so that it counts as there.
  const hear = () => {
    for (let index = 0; index < hosts.length; index++) {
      const { heartbeat, atMs } = (hosts[index] as SimulatedHost).heartbeat(agenda.nowMs);
      const last = heard[index] as (typeof heard)[number];
      if (heartbeat === last.beat && atMs < last.atMs + times.leaseMs) continue;
      last.beat = heartbeat;
      last.atMs = atMs;
      fleet.hear(heartbeat, atMs);
    }
  };

  return {
    arrived(task) {
      say({
        taskId: idOf(task),
        kind: "requested",
        speaker: "normal",
        body: { ...requestOf(task, world), after: 0 },
      });
    },
    ended(task, host, how, peakMemoryBytes) {
      const taskId = idOf(task);
      const result = { ...RESULT, peakMemoryBytes };
      const body = { after: lastSequence(taskId), attempt: 1, nonce: "n" };
      if (how === "done") {
        say({ taskId, kind: "succeeded", speaker: host.id, body: { ...body, result } });
        return;
      }
      say({ taskId, kind: "faulted", speaker: host.id, body: { ...body, failure: KILLED, result } });
      say({
        taskId,
        kind: "failed",
        speaker: "control",
        body: {
          ...body,
          after: lastSequence(taskId),
          hostId: host.id,
          lost: false,
          failures: 1,
          failure: KILLED,
          exhausted: false,
        },
      });
    },
    waiting: () => queue.size,
    async pass() {
      isOpen = true;
      if (queue.size > 0) {
        hear();
        const isSweep = agenda.nowMs >= sweptAtMs + SWEEP_MS;
        if (isSweep) {
          sweptAtMs = agenda.nowMs;
          index.recount(agenda.nowMs, silenceMs(times));
        }
        dispatcher.pass();
        if (isSweep) dispatcher.makeRoom();
      }
      for (let turn = 0; turn < TURNS; turn++) await Promise.resolve();
      // A timer of the dispatcher's own, which runs by another clock, finds nothing to lead.
      isOpen = false;
    },
  };
}

const idOf = (task: number): string => `t${task}`;
const taskOf = (taskId: string): number => Number(taskId.slice(1));

function requestOf(task: number, { workload }: World): DeployRequest {
  const kind = workload.kinds[workload.kind[task] as number] as Kind;
  const { repository, type, runner, memoryLimitBytes, namesMemory } = kind;
  const memoryBytes = Math.round(workload.askedBytes[task] ?? 0);
  return {
    type,
    repository,
    branch: "main",
    sha: "0".repeat(40),
    cloneUrl: "https://simulated.invalid/tasks.git",
    resources: { ...(namesMemory ? { memoryBytes } : {}), cpus: workload.askedCpus[task] ?? 1 },
    ...(memoryLimitBytes === null ? {} : { limits: { memoryBytes: memoryLimitBytes } }),
    ...(runner === null ? {} : { runner }),
  };
}
