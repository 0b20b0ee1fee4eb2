// The host agent: the one judge of this machine's capacity. Accepts or refuses, runs, streams, cleans up; what
// runs, runs under the guest supervisor, which ends it when this process ends.
import { rm } from "node:fs/promises";
import path from "node:path";
import { askTracker } from "../../shared/bus/append.ts";
import { ask } from "../../shared/bus/ask.ts";
import { type Bus, connectBus } from "../../shared/bus/connect.ts";
import { pathsOf } from "../../shared/config/agent-programs.ts";
import { ConfigurationError, leaseTimes } from "../../shared/config/environment.ts";
import { readMeshConfig } from "../../shared/config/mesh-config.ts";
import { VERSION } from "../../shared/config/version.ts";
import type { Heartbeat } from "../../shared/contracts/heartbeat.ts";
import { type DrainOrder, type DrainReply, orderSubject, WhoReply } from "../../shared/contracts/order.ts";
import type { StopService } from "../../shared/contracts/service.ts";
import { lockFolder } from "../../shared/process/folder-lock.ts";
import { busOptions, runService, type ServiceContext } from "../../shared/service/run.ts";
import { serveStopOrder } from "../../shared/service/stop-order.ts";
import { abilityOf } from "./ability.ts";
import { attemptExecutor } from "./attempt/attempt.ts";
import { createLogSink } from "./attempt/log-sink.ts";
import { startCondition } from "./condition/condition.ts";
import { type Heartbeats, startHeartbeats } from "./heartbeats.ts";
import { Attempts } from "./held/attempts.ts";
import type { Executor } from "./held/executor.ts";
import { finishedIn } from "./held/finished.ts";
import { Voice } from "./held/voice.ts";
import { chooseHostId, HOST_LOCK, readIdentity } from "./identity.ts";
import { startInstances } from "./instances/instances.ts";
import type { Machine } from "./instances/machine.ts";
import { readPlace } from "./instances/place.ts";
import { instanceRules, machinesOf } from "./instances/settings.ts";
import { serveOrders } from "./orders.ts";
import { startAwake } from "./owner/keep-awake.ts";
import { createRedactor } from "./redaction.ts";
import { knowRunners } from "./runner/known-runners.ts";
import { keepSecrets } from "./secrets/host-secrets.ts";
import { storeFileIn } from "./secrets/store-file.ts";
import { watchForStandstill } from "./standstill.ts";
import { takeOfferedImage } from "./wsl/image/offered.ts";

/** Another agent of this id has so long to say that it is there, ms. */
const WHO_MS = 1_000;
/** Attempts that a stop interrupts have so long to be ended and spoken of, ms. */
const CLOSE_MS = 8_000;
/** Told over the bus to stop, it lets what runs go on for so long, unless told otherwise, ms. */
const STOP_MS = 600_000;

/** `executor` makes what attempts do; a benchmark gives one that does nothing. */
export async function start(
  context: ServiceContext,
  options: { executor?: (bus: Bus) => Executor } = {},
): Promise<AsyncDisposable> {
  await using stack = new AsyncDisposableStack();
  const { environment } = context;
  const hostId = chooseHostId(environment);
  const log = context.log.child({ hostId });
  const times = leaseTimes(environment.MESH_LEASE_MS);
  const since = new Date().toISOString();
  const { runners: programs } = await readMeshConfig(environment.MESH_CONFIG);

  const identity = await readIdentity(environment, async (dataDir) => {
    const lock = await lockFolder(dataDir, HOST_LOCK);
    if (!lock.ok)
      throw new ConfigurationError(
        `a host agent (process ${lock.heldBy}) uses ${dataDir} already: stop it, or set MESH_DATA_DIR to another folder`,
      );
    stack.defer(() => lock.lock.release());
  });
  const { installation, boot, dataDir } = identity;
  if (dataDir.startsWith("/srv/"))
    throw new ConfigurationError(
      `${dataDir} lies under /srv, which instances see as their own: set MESH_DATA_DIR to another folder`,
    );
  const artifactsFolder = path.join(dataDir, "artifacts");
  const finished = finishedIn(path.join(dataDir, "finished"));

  const redactor = createRedactor([
    environment.ANTHROPIC_API_KEY,
    environment.ANTHROPIC_AUTH_TOKEN,
    environment.OPENAI_API_KEY,
    environment.NATS_TOKEN,
    ...Object.values(programs).flatMap(({ secrets }) => secrets.map((name) => process.env[name])),
  ]);
  const secrets = stack.use(
    await keepSecrets({
      file: environment.MESH_HOST_SECRETS ?? storeFileIn(dataDir),
      isNamed: environment.MESH_HOST_SECRETS !== undefined,
      hostId,
      redactor,
      log,
    }),
  );

  // What a former life left is ended, and seen gone, before this one says a word.
  const tools = Object.values(programs).flatMap(pathsOf);
  const source = await machinesOf({ dataDir, installation, environment, tools, times, log });
  await source.endFormerLife();
  await takeOfferedImage(dataDir, environment.MESH_WSL_EXE, log);
  await rm(artifactsFolder, { recursive: true, force: true });

  const bus = stack.use(await connectBus(busOptions(context, `host-agent ${hostId}`)));
  const whoSubject = orderSubject.build({ hostId, order: "who" });
  const other = await ask(bus, whoSubject, { installation, boot }, WhoReply, WHO_MS);
  if (other.ok)
    throw new ConfigurationError(
      `another host agent speaks as ${hostId} since ${other.value.since}: stop it, or give this machine another MESH_HOST_ID`,
    );

  let heartbeats: Heartbeats | undefined;
  const slots = environment.MESH_HOST_SLOTS;
  const instances = stack.use(startInstances({ source, rules: instanceRules(environment), log }));
  const isLocal = environment.MESH_HOST_INSTANCES === "local";
  // Elsewhere that may take minutes, and fail for a while; the host says meanwhile that it has nothing free.
  if (isLocal) await (await instances.first).guest.firstStamp();
  instances.onOpened(({ guest }) => void guest.firstStamp().then(() => heartbeats?.beat()));
  const ownersNetwork = {
    widest: environment.MESH_HOST_NETWORK,
    allowed: environment.MESH_HOST_ALLOWED_HOSTS,
  };
  const ability = abilityOf(() => instances.machines(), ownersNetwork, environment);
  let lastResume: Heartbeat["lastResume"];
  stack.use(
    watchForStandstill({
      everyMs: times.checkMs,
      limitMs: times.marginMs / 2,
      onGap(gapMs) {
        lastResume = { at: new Date().toISOString(), gapMs: Math.round(gapMs) };
        log.warn({ gapMs }, "this machine has slept, or stood still: what runs waits for a new lease");
        for (const { guest } of instances.machines()) guest.freeze();
      },
    }),
  );
  const known = await knowRunners({
    ...{ environment, programs, instances, log },
    hasSecrets: () => secrets.offered().length > 0,
  });
  const runnerNames = () => known().runners.map(({ name }) => name);
  const versions = () => ({
    "host-agent": VERSION,
    node: process.versions.node,
    ...known().versions,
  });
  /** By an operator's wish, which the tracker tells; or because it has been told to stop. */
  let drained = false;
  let stopping = false;
  const draining = () => drained || stopping;

  const condition = stack.use(
    await startCondition({
      environment,
      hostId,
      dataDir,
      readPlace: () => readPlace(instances.machines()[0], dataDir, !isLocal),
      isVmUp: isLocal ? null : () => instances.machines().length > 0,
      atWork: () => attempts.reserved().attempts,
      handBack: (count, message) => attempts.handBack(count, message),
      onChange: () => heartbeats?.beat(),
      unable: ability.unable,
      log,
    }),
  );
  instances.onOpened(condition.placeChanged);
  const attempts: Attempts = new Attempts({
    hostId,
    voice: new Voice(bus, askTracker(bus)),
    instances,
    executor:
      options.executor?.(bus) ??
      attemptExecutor({
        bus,
        hostId,
        artifactsFolder,
        get runners() {
          return known().runners;
        },
        redactor,
        network: ownersNetwork,
        secrets,
        keepsSessions: environment.MESH_HOST_CHECKPOINTS,
        log,
      }),
    finished,
    log,
    tellOvertaken: (claim, words) => createLogSink(bus, redactor, claim).phase("overtaken", words),
    capacity: () => ({
      ...condition.judged(),
      slots,
      labels: environment.MESH_HOST_LABELS,
      versions: versions(),
      runners: runnerNames(),
      secrets: secrets.offered(),
      takesStrangers: ability.takesStrangers(),
      draining: draining(),
    }),
    moment: () => ({ installation, boot, counter: heartbeats?.counter() ?? 0 }),
  });
  for (const left of await finished.read()) attempts.adopt(left);

  const drain = (order: DrainOrder): DrainReply => {
    if (drained !== order.draining)
      log.info({ draining: order.draining }, "ordered to drain, or not any more");
    drained = order.draining;
    return { draining: draining() };
  };
  stack.use(
    serveOrders(bus, { hostId, installation, boot, since }, attempts, drain, (error) =>
      log.error(error, "an order met a bug"),
    ),
  );

  stack.use(startAwake({ working: () => attempts.reserved().attempts > 0, log }));
  heartbeats = stack.use(
    startHeartbeats({
      bus,
      hostId,
      everyMs: times.heartbeatMs,
      leaseMs: times.leaseMs,
      takeStamp: () => stampOfAll(instances.machines()),
      compose: () => {
        const { attempts: atWork, ...reserved } = attempts.reserved();
        return {
          ...condition.said(),
          hostId,
          installation,
          boot,
          heartbeatMs: times.heartbeatMs,
          slots: {
            total: slots,
            free:
              condition.judged().vmMemoryBytes === null
                ? 0
                : Math.max(0, Math.min(slots - atWork, instances.free())),
          },
          reserved,
          attempts: attempts.list(),
          labels: environment.MESH_HOST_LABELS,
          runners: runnerNames(),
          secrets: secrets.offered(),
          isolation: ability.hello()?.isolation ?? "none",
          networks: ability.networks(),
          limits: ability.limits(),
          untrusted: ability.takesStrangers(),
          draining: draining(),
          stopping,
          versions: versions(),
          ...(isLocal ? {} : clockOfAll(instances.machines())),
          ...(lastResume === undefined ? {} : { lastResume }),
        };
      },
    }),
  );
  const takeNothingMore = () => {
    stopping = true;
    // Nobody has to learn it by being refused.
    heartbeats?.beat();
  };
  stack.defer(async () => {
    takeNothingMore();
    // Nothing against the work, nor against the host: another one takes it at once.
    await attempts.close({ category: "preempted", message: `host ${hostId} was stopped` }, CLOSE_MS);
  });
  const finish = async ({ deadlineMs = STOP_MS }: StopService) => {
    takeNothingMore();
    await attempts.untilNone(deadlineMs);
  };
  stack.use(serveStopOrder(bus, context, "host-agent", { instance: hostId, before: finish }));
  return stack.move();
}

/** All machines share one clock: what is furthest off is told. */
function clockOfAll(machines: Machine[]): Pick<Heartbeat, "vmClockAheadMs"> {
  const ahead = machines.flatMap(({ guest }) => guest.clockSkewMs() ?? []);
  const [furthest] = ahead.toSorted((one, other) => Math.abs(other) - Math.abs(one));
  return furthest === undefined ? {} : { vmClockAheadMs: Math.round(furthest) };
}

/** Hands each supervisor's stamp back to it. */
function stampOfAll(machines: Machine[]): (() => void) | null {
  const stamps = machines.flatMap(({ guest }) => guest.takeStamp() ?? []);
  return stamps.length === 0 ? null : () => stamps.forEach((renew) => renew());
}

if (import.meta.main) await runService("host-agent", start);
