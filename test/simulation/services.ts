// The services of the simulation, each a process that dies and begins again from the log: schedulers and trackers, all
// of which believe that they lead, and the orchestrator that asks and cancels.
import { pino } from "pino";
import { Dispatcher } from "../../services/scheduler/dispatch.ts";
import { Fleet } from "../../services/scheduler/fleet.ts";
import { Queue } from "../../services/scheduler/queue.ts";
import { QueueIndex } from "../../services/scheduler/queue-index.ts";
import { Burial } from "../../services/status-tracker/burial.ts";
import { Caretaker } from "../../services/status-tracker/caretaker.ts";
import { Ledger } from "../../services/status-tracker/ledger.ts";
import { Presence } from "../../services/status-tracker/presence.ts";
import { queries } from "../../services/status-tracker/queries.ts";
import { appendFact } from "../../shared/bus/append.ts";
import { ask, askApi, serve } from "../../shared/bus/ask.ts";
import type { Bus } from "../../shared/bus/connect.ts";
import { probeAfterMs } from "../../shared/config/environment.ts";
import { RETRY_DEFAULTS } from "../../shared/config/retry-table.ts";
import { DEFAULT_SETTINGS } from "../../shared/config/settings.ts";
import { API, apiSubject } from "../../shared/contracts/api.ts";
import type { DeployRequest } from "../../shared/contracts/deploy-request.ts";
import { factSubject, taskSubjects } from "../../shared/contracts/fact.ts";
import { answer } from "../../shared/contracts/failure.ts";
import { decodeHeartbeat } from "../../shared/contracts/heartbeat.ts";
import { type LeaseTimes, silenceMs } from "../../shared/contracts/lease.ts";
import { orderSubject, RunReply, StopReply } from "../../shared/contracts/order.ts";
import { Breakers } from "../../shared/lifecycle/breakers.ts";
import { FoldedLog } from "../../shared/lifecycle/folded-log.ts";
import { isEnd } from "../../shared/lifecycle/table.ts";
import type { Broker } from "./broker.ts";
import type { Choose, Line } from "./line.ts";
import { EPOCH_MS } from "./machine.ts";
import type { Rules } from "./rules.ts";
import type { Life, VirtualTime } from "./virtual-time.ts";

const RUN_REPLY_MS = 10_000;
const SWEEP_MS = 500;
/** No operator in these histories. */
const NOTHING_PAUSED = { all: () => [], holding: () => null };
const log = pino({ level: "silent" });
const onBug = (error: unknown) => {
  throw error;
};

export interface ServiceOptions {
  name: string;
  line: Line;
  time: VirtualTime;
  broker: Broker;
  choose: Choose;
  rules: Rules;
  times: LeaseTimes;
}

export type Begin = (options: ServiceOptions, life: Life, bus: Bus) => void;

/** A process that can be killed, stopped, and begun again. */
export class Service {
  readonly name: string;
  readonly line: Line;
  life: Life | null = null;
  stopped = false;
  readonly #options: ServiceOptions;
  readonly #begin: Begin;

  constructor(options: ServiceOptions, begin: Begin) {
    this.name = options.name;
    this.line = options.line;
    this.#options = options;
    this.#begin = begin;
  }

  start(): void {
    const { time, line } = this.#options;
    const life: Life = {
      name: this.name,
      dead: false,
      monotonicMs: () => time.nowMs,
      wallMs: () => EPOCH_MS + time.nowMs,
      held: () => this.stopped,
    };
    this.life = life;
    const bus = line.connect(life);
    time.as(life, () => this.#begin(this.#options, life, bus));
  }

  kill(): void {
    if (this.life === null) return;
    this.life.dead = true;
    this.life = null;
    this.line.disconnect();
  }
}

export const scheduler: Begin = ({ line, broker, times, choose, name }, life, bus) => {
  const queue = new Queue();
  const fleet = new Fleet();
  const index = new QueueIndex(queue, fleet, () => DEFAULT_SETTINGS["placement.learn"]);
  const breakers = new Breakers(probeAfterMs(times.leaseMs));
  const dispatcher = new Dispatcher(queue, fleet, silenceMs(times), {
    leads: () => true,
    settings: () => DEFAULT_SETTINGS,
    nowMs: () => performance.now(),
    brokerNowMs: () => EPOCH_MS + performance.now(),
    random: () => choose("placement", name, 4, 0.5) / 4,
    breakers,
    budgets: index.budgets,
    held: () => null,
    request: async (entry) => index.request(entry.taskId) ?? broker.requestAt(entry.sequence),
    ask: (hostId, order) =>
      ask(bus, orderSubject.build({ hostId, order: "run" }), order, RunReply, RUN_REPLY_MS),
    usual: (work) => index.footprints.usual(work),
    stop: (hostId, order) =>
      void ask(bus, orderSubject.build({ hostId, order: "stop" }), order, StopReply, RUN_REPLY_MS),
    runsOn: (taskId) => {
      const task = folded.tasks.get(taskId);
      return task?.active ? task.hostId : null;
    },
    publish: () => {},
  });
  const folded = new FoldedLog((fact) => {
    breakers.apply(fact, index.repository(fact.fact.taskId));
    index.apply(fact, performance.now());
    if (fact.after.state !== "queued") dispatcher.forget(fact.fact.taskId);
    dispatcher.wake();
  });
  line.followTasks(life, (fact) => folded.apply(fact));
  line.followHeartbeats(life, ({ subject, payload }) => {
    const heartbeat = decodeHeartbeat(subject, payload)?.heartbeat;
    if (heartbeat) fleet.hear(heartbeat, performance.now());
    dispatcher.wake();
  });
  setInterval(() => {
    index.recount(performance.now(), silenceMs(times));
    dispatcher.makeRoom();
    dispatcher.pass();
  }, SWEEP_MS);
};

export const tracker: Begin = ({ line, broker, times, rules, choose, name }, life, bus) => {
  const ledger = new Ledger(
    { factsOfTask: async (taskId) => broker.factsOf(taskId) },
    probeAfterMs(times.leaseMs),
  );
  const patience = { ...times, marginMs: rules.marginMs };
  const presence = new Presence(silenceMs(patience), performance.now());
  if (!rules.grace) presence.startGrace = () => {};
  const burial = new Burial(bus, log);
  const caretaker = new Caretaker({
    bus,
    ledger,
    presence,
    times: patience,
    log,
    retries: () => RETRY_DEFAULTS,
    leads: () => true,
    settings: () => DEFAULT_SETTINGS,
    wishes: new Map(),
    random: () => choose("backoff", name, 4, 0.8) / 4,
    brokerNowMs: () => EPOCH_MS + performance.now(),
  });
  line.followTasks(life, (fact) => {
    const { speaker } = fact;
    if (fact.body === null) burial.add(fact, Buffer.alloc(0));
    for (const touched of ledger.apply(fact)) {
      const task = ledger.active.get(touched)?.lifecycle;
      if (task?.active && speaker === task.hostId) presence.spoke(task, performance.now());
      if (task !== undefined) caretaker.look(touched);
      else caretaker.forget(touched);
    }
    if (fact.kind === "cancelRequested" && !rules.waitsForTheTree) cancelAtOnce(fact.taskId);
  });
  line.followHeartbeats(life, ({ subject, payload, timeMs }) => {
    const heartbeat = decodeHeartbeat(subject, payload)?.heartbeat;
    if (heartbeat) presence.hear(heartbeat, timeMs, performance.now());
  });
  presence.startGrace(performance.now());
  const answers = queries(bus, ledger, {
    presence,
    wishes: new Map(),
    pauses: NOTHING_PAUSED,
    settings: () => DEFAULT_SETTINGS,
    brokerNowMs: () => EPOCH_MS + performance.now(),
    notices: () => [],
  });
  for (const verb of ["get", "cancel"] as const)
    serve(bus, apiSubject.build({ verb }), API[verb].request, answers[verb] as never, {
      queue: "status-tracker",
      onBug,
    });

  /** A mutant's: it says so though the tree may act. */
  function cancelAtOnce(taskId: string): void {
    const lifecycle = ledger.active.get(taskId)?.lifecycle;
    if (lifecycle?.state !== "cancelling") return;
    const { lastSequence: after, attempt, hostId, nonce } = lifecycle;
    void appendFact(
      bus,
      {
        taskId,
        kind: "cancelled",
        speaker: "control",
        body: { after, attempt, hostId, nonce, lost: true, reason: "at once" },
      },
      { deadlineMs: 5_000, truth: async () => answer(null) },
    );
  }
};

const REQUEST: Omit<DeployRequest, "taskId"> = {
  type: "pr_deployment",
  repository: "acme/shop",
  branch: "feature",
  sha: "a".repeat(40),
  cloneUrl: "https://example.invalid/acme/shop.git",
};

/** Asks for each task until that is acknowledged; asks twice, asks nonsense, and cancels, as chance has it. */
export const orchestrator =
  (tasks: Map<string, { acknowledged: boolean }>, maxAttempts: number): Begin =>
  ({ broker, choose }, _life, bus) => {
    for (const [taskId, task] of tasks) {
      if (!task.acknowledged) void submit(taskId, task);
      if (choose("cancel", taskId, 2, 0.3) === 1) void cancel(taskId);
    }

    async function submit(taskId: string, task: { acknowledged: boolean }): Promise<void> {
      await pause(choose("begin", taskId, 5, 0.5) * 2_000);
      if (choose("poison", taskId, 2, 0.05) === 1) await nonsense(taskId);
      const again = choose("again", taskId, 2, 0.2) === 1;
      const fact = {
        taskId,
        kind: "requested" as const,
        speaker: "normal",
        body: { ...REQUEST, maxAttempts, after: 0 },
      };
      for (;;) {
        const said = await appendFact(bus, fact, {
          deadlineMs: 10_000,
          truth: async () => answer(broker.factsOf(taskId)),
        });
        if (said.outcome === "appended" || said.outcome === "refused") break;
      }
      task.acknowledged = true;
      if (!again) return;
      await pause(choose("later", taskId, 4, 0.7) * 5_000);
      // A client that knows no guard.
      const subject = factSubject.build({ taskId, kind: "requested", speaker: "normal" });
      await bus.js.publish(subject, JSON.stringify(fact.body)).catch(() => {});
    }

    async function nonsense(taskId: string): Promise<void> {
      const subject = factSubject.build({ taskId, kind: "requested", speaker: "normal" });
      const expect = { lastSubjectSequence: 0, lastSubjectSequenceSubject: taskSubjects(taskId) };
      await bus.js.publish(subject, "{ no JSON", { expect }).catch(() => {});
    }

    async function cancel(taskId: string): Promise<void> {
      await pause(1_000 + choose("cancel when", taskId, 40, 0.98) * 1_000);
      for (;;) {
        const state = broker.truth.get(taskId)?.state;
        if (state !== undefined && (isEnd(state) || state === "cancelling")) return;
        await askApi(bus, "cancel", { taskId });
        await pause(1_000);
      }
    }
  };

const pause = (ms: number) => new Promise<void>((done) => setTimeout(done, ms));
