// The status tracker: the one decider of what became of a task. Follows the log and the heartbeats, says the
// control fact that follows, sets aside what nobody can decode, and answers questions.
import { serve } from "../../shared/bus/ask.ts";
import { connectBus } from "../../shared/bus/connect.ts";
import { follow, followFacts } from "../../shared/bus/follow.ts";
import { followHostWishes, type StandingWish } from "../../shared/bus/host-wishes.ts";
import { standForLeader } from "../../shared/bus/leadership.ts";
import { followPauses } from "../../shared/bus/pauses.ts";
import { keepProvisioned } from "../../shared/bus/provision.ts";
import { factsOfTask } from "../../shared/bus/read.ts";
import { followSettings } from "../../shared/bus/settings.ts";
import { HOSTS } from "../../shared/bus/streams.ts";
import { leaseTimes, probeAfterMs } from "../../shared/config/environment.ts";
import { readMeshConfig } from "../../shared/config/mesh-config.ts";
import { retryTable } from "../../shared/config/retry-table.ts";
import { API, API_VERBS, apiSubject } from "../../shared/contracts/api.ts";
import { decodeHeartbeat } from "../../shared/contracts/heartbeat.ts";
import { silenceMs } from "../../shared/contracts/lease.ts";
import { busOptions, runService, type ServiceContext } from "../../shared/service/run.ts";
import { serveStopOrder } from "../../shared/service/stop-order.ts";
import { Burial } from "./burial.ts";
import { Caretaker } from "./caretaker.ts";
import { keepDrainsKnown } from "./drain-orders.ts";
import { tellIntake } from "./intake.ts";
import { Ledger } from "./ledger.ts";
import { Presence } from "./presence.ts";
import { queries } from "./queries.ts";
import { GIVEN, keepReserve } from "./reserve.ts";
import { retain } from "./retention.ts";
import { watchRoom } from "./room.ts";

export async function start(context: ServiceContext): Promise<AsyncDisposable> {
  await using stack = new AsyncDisposableStack();
  const { log } = context;
  const config = await readMeshConfig(context.environment.MESH_CONFIG);
  const bus = stack.use(await connectBus(busOptions(context, "status-tracker")));
  stack.use(await keepProvisioned(bus));
  const settings = stack.use(await followSettings(bus, log));
  const room = stack.use(await watchRoom(bus, log));
  const times = leaseTimes(context.environment.MESH_LEASE_MS);
  const ledger = new Ledger(
    { factsOfTask: (taskId) => factsOfTask(bus, taskId) },
    probeAfterMs(context.environment.MESH_LEASE_MS),
  );
  const presence = new Presence(silenceMs(times), performance.now());
  const wishes = new Map<string, StandingWish>();
  let leadership: Awaited<ReturnType<typeof standForLeader>> | undefined;
  const drains = stack.use(keepDrainsKnown(bus, presence, wishes, () => leadership?.leads() ?? false));
  const wishing = stack.use(
    await followHostWishes(bus, log, (hostId, wish) => {
      if (wish === null) wishes.delete(hostId);
      else wishes.set(hostId, wish);
      drains.look(hostId);
    }),
  );
  const pauses = stack.use(await followPauses(bus, log));
  let following: Awaited<ReturnType<typeof followFacts>> | undefined;
  const caretaker = new Caretaker({
    bus,
    ledger,
    presence,
    times,
    log,
    retries: () => retryTable(config.retries, settings.now().retries),
    leads: () => leadership?.leads() ?? false,
    random: Math.random,
    settings: settings.now,
    wishes,
    brokerNowMs: () => following?.brokerNowMs() ?? Date.now(),
  });
  stack.defer(() => caretaker.stop());

  const burial = stack.use(new Burial(bus, log));
  following = stack.use(
    await followFacts(bus, { from: 1 }, (fact, payload) => {
      if (fact.body === null) burial.add(fact, payload);
      for (const taskId of ledger.apply(fact)) {
        const task = ledger.active.get(taskId)?.lifecycle;
        if (task?.active && fact.speaker === task.hostId) presence.spoke(task, performance.now());
        if (task !== undefined) caretaker.look(taskId);
        else caretaker.forget(taskId);
      }
    }),
  );
  const heartbeats = stack.use(
    await follow(bus, {
      stream: HOSTS,
      from: "last",
      onMessage: ({ subject, payload, timeMs }, ageMs) => {
        const heard = decodeHeartbeat(subject, payload);
        if (heard === null) return;
        // One that was stored before this service looked may be long past: that shows in `hosts`, while
        // nobody is declared dead on it before the grace is over.
        const heardAtMs = performance.now() - ageMs;
        if (heard.heartbeat !== null) {
          presence.hear(heard.heartbeat, timeMs, heardAtMs);
          drains.look(heard.hostId);
        } else if (presence.hearUnreadable(heard.hostId, heardAtMs))
          log.warn({ hostId: heard.hostId }, "nobody can read this host's heartbeats");
      },
    }),
  );
  await Promise.all([following.caughtUp, wishing.caughtUp, pauses.caughtUp, heartbeats.caughtUp]);
  presence.startGrace(performance.now());
  leadership = stack.use(
    await standForLeader(bus, "status-tracker", `${process.pid}`, (leads) =>
      log.info({ leads }, "leadership"),
    ),
  );
  caretaker.sweep();
  const leads = () => leadership?.leads() ?? false;
  stack.use(
    retain({
      bus,
      ledger,
      log,
      leads,
      keepMs: () => settings.now()["task.keepMs"],
      brokerNowMs: () => following.brokerNowMs(),
    }),
  );
  const reserve = stack.use(await keepReserve(bus, log, leads));
  stack.use(tellIntake(bus, ledger, context.environment.MESH_QUEUE_LIMIT, reserve.isGiven, leads));

  const answers = queries(bus, ledger, {
    presence,
    wishes,
    pauses,
    settings: settings.now,
    brokerNowMs: () => following.brokerNowMs(),
    notices: () => [...(reserve.isGiven() ? [GIVEN] : []), ...room.notices()],
  });
  const served = API_VERBS.map((verb) =>
    serve(bus, apiSubject.build({ verb }), API[verb].request, answers[verb] as never, {
      queue: "status-tracker",
      onBug: (error) => log.error(error, `mesh.api.${verb}: this is a bug`),
    }),
  );
  stack.defer(async () => {
    await Promise.all(served.map((serving) => serving.finish()));
  });
  stack.use(serveStopOrder(bus, context, "status-tracker"));
  return stack.move();
}

if (import.meta.main) await runService("status-tracker", start);
