// The scheduler: the one decider of where. Follows the log for what is queued and the heartbeats for who could
// take it, and asks; it keeps no record of placement, which is the log's.
import { ask, serve } from "../../shared/bus/ask.ts";
import { connectBus } from "../../shared/bus/connect.ts";
import { follow, followTasks } from "../../shared/bus/follow.ts";
import { followHostWishes } from "../../shared/bus/host-wishes.ts";
import { standForLeader } from "../../shared/bus/leadership.ts";
import { followPauses } from "../../shared/bus/pauses.ts";
import { keepProvisioned } from "../../shared/bus/provision.ts";
import { requestAt } from "../../shared/bus/read.ts";
import { followSettings } from "../../shared/bus/settings.ts";
import { HOST_KEPT_MS, HOSTS } from "../../shared/bus/streams.ts";
import { leaseTimes, probeAfterMs } from "../../shared/config/environment.ts";
import { answer, refuse } from "../../shared/contracts/failure.ts";
import { decodeHeartbeat } from "../../shared/contracts/heartbeat.ts";
import { silenceMs } from "../../shared/contracts/lease.ts";
import { orderSubject, RunReply, StopReply } from "../../shared/contracts/order.ts";
import { OutlookRequest, outlookSubject } from "../../shared/contracts/outlook.ts";
import { receiptSubject } from "../../shared/contracts/receipt.ts";
import { Breakers } from "../../shared/lifecycle/breakers.ts";
import type { FoldedFact } from "../../shared/lifecycle/folded-log.ts";
import { busOptions, runService, type ServiceContext } from "../../shared/service/run.ts";
import { serveStopOrder } from "../../shared/service/stop-order.ts";
import { Dispatcher } from "./dispatch.ts";
import { Fleet } from "./fleet.ts";
import { Queue } from "./queue.ts";
import { QueueIndex } from "./queue-index.ts";

/** A host answers a run order once the log has stored `started`. */
const RUN_REPLY_MS = 10_000;
const STOP_REPLY_MS = 2_000;
/** A pass is made at least this often, whatever was or was not heard. */
const SWEEP_MS = 500;
export async function start(context: ServiceContext): Promise<AsyncDisposable> {
  await using stack = new AsyncDisposableStack();
  const bus = stack.use(await connectBus(busOptions(context, "scheduler")));
  stack.use(await keepProvisioned(bus));
  const settings = stack.use(await followSettings(bus, context.log));
  const queue = new Queue();
  const fleet = new Fleet();
  const index = new QueueIndex(queue, fleet, () => settings.now()["placement.learn"]);
  const breakers = new Breakers(probeAfterMs(context.environment.MESH_LEASE_MS));
  let ready = false;
  let tasks: Awaited<ReturnType<typeof followTasks>> | undefined;
  let pauses: Awaited<ReturnType<typeof followPauses>> | undefined;
  let leadership: Awaited<ReturnType<typeof standForLeader>> | undefined;

  const hostSilenceMs = silenceMs(leaseTimes(context.environment.MESH_LEASE_MS));
  const dispatcher = new Dispatcher(queue, fleet, hostSilenceMs, {
    settings: settings.now,
    leads: () => ready && (leadership?.leads() ?? false),
    breakers,
    budgets: index.budgets,
    held: (repository) => pauses?.holding(repository) ?? null,
    nowMs: () => performance.now(),
    random: Math.random,
    brokerNowMs: () => tasks?.brokerNowMs() ?? Date.now(),
    request: async (entry) => index.request(entry.taskId) ?? (await requestAt(bus, entry.sequence)),
    ask: (hostId, order) =>
      ask(bus, orderSubject.build({ hostId, order: "run" }), order, RunReply, RUN_REPLY_MS),
    usual: (work) => index.footprints.usual(work),
    stop: (hostId, order) => {
      context.log.info({ hostId, ...order }, "stops for an urgent task");
      void ask(bus, orderSubject.build({ hostId, order: "stop" }), order, StopReply, STOP_REPLY_MS);
    },
    runsOn: (taskId) => {
      const task = tasks?.log.tasks.get(taskId);
      return task?.active ? task.hostId : null;
    },
    publish: (receipt) => {
      if (!bus.connection.isClosed() && !bus.connection.isDraining())
        bus.connection.publish(receiptSubject.build({ taskId: receipt.taskId }), JSON.stringify(receipt));
    },
  });

  const onFolded = (folded: FoldedFact) => {
    // Before the index lets go of a task that has ended.
    breakers.apply(folded, index.repository(folded.fact.taskId));
    index.apply(folded, performance.now());
    if (folded.after.state !== "queued") dispatcher.forget(folded.fact.taskId);
    dispatcher.wake();
  };
  const wishes = stack.use(
    await followHostWishes(bus, context.log, (hostId, wish) => {
      fleet.wish(hostId, wish?.kind ?? null);
      dispatcher.wake();
    }),
  );
  pauses = stack.use(await followPauses(bus, context.log, () => dispatcher.wake()));
  tasks = stack.use(await followTasks(bus, onFolded));
  const heartbeats = stack.use(
    await follow(bus, {
      stream: HOSTS,
      from: "last",
      onMessage: ({ subject, payload }, ageMs) => {
        // Whom nobody understands is given no work.
        const heartbeat = decodeHeartbeat(subject, payload)?.heartbeat;
        if (!heartbeat) return;
        // One that was stored before this service looked may be long past.
        fleet.hear(heartbeat, performance.now() - ageMs);
        dispatcher.wakeLater();
      },
    }),
  );
  await Promise.all([tasks.caughtUp, wishes.caughtUp, pauses.caughtUp, heartbeats.caughtUp]);
  index.recount(performance.now(), hostSilenceMs);
  ready = true;
  const explain = ({ taskId }: { taskId: string }) => {
    const outlook = dispatcher.outlook(taskId);
    return outlook === null ? refuse("not_found", `task ${taskId} is not queued`) : answer(outlook);
  };
  let explaining: { unsubscribe(): void } | null = null;
  stack.defer(() => explaining?.unsubscribe());
  leadership = stack.use(
    await standForLeader(bus, "scheduler", `${process.pid}`, (leads) => {
      context.log.info({ leads, queued: queue.size }, "leadership");
      // Only who leads knows what it has asked of whom.
      explaining?.unsubscribe();
      explaining = leads
        ? serve(bus, outlookSubject.build({}), OutlookRequest, explain, {
            onBug: (error) => context.log.error(error, "mesh.scheduler.outlook: this is a bug"),
          })
        : null;
      if (leads) dispatcher.wake();
    }),
  );
  dispatcher.wake();
  const sweep = setInterval(() => {
    fleet.forgetBefore(performance.now() - HOST_KEPT_MS);
    index.recount(performance.now(), hostSilenceMs);
    dispatcher.pass();
    dispatcher.makeRoom();
    dispatcher.explainWaiting();
  }, SWEEP_MS);
  stack.defer(() => clearInterval(sweep));
  stack.use(serveStopOrder(bus, context, "scheduler"));
  return stack.move();
}

if (import.meta.main) await runService("scheduler", start);
