// A whole mesh in one process: a nats-server beside it (unless NATS_URL names one), the four services, and as many
// local host agents as wanted, on one data folder. It must never leave anything running when it fails to start.
import path from "node:path";
import type { Logger } from "pino";
import { type Bus, type BusError, type BusOptions, connectBus } from "../../../shared/bus/connect.ts";
import { provision } from "../../../shared/bus/provision.ts";
import { removeMeshFile, writeMeshFile } from "../../../shared/client/mesh-file.ts";
import { natsClient } from "../../../shared/client/nats-client.ts";
import { ConfigurationError } from "../../../shared/config/environment.ts";
import { readSettings } from "../../../shared/config/mesh-config.ts";
import { isPortBusy } from "../../../shared/nats-server/busy-port.ts";
import { lockFolder } from "../../../shared/process/folder-lock.ts";
import { makeFolder } from "../../../shared/process/make-folder.ts";
import { serveStopOrder } from "../../../shared/service/stop-order.ts";
import { start as startGateway } from "../../gateway/main.ts";
import { start as startHostAgent } from "../../host-agent/main.ts";
import { start as startScheduler } from "../../scheduler/main.ts";
import { start as startStatusTracker } from "../../status-tracker/main.ts";
import { type OwnBus, startOwnBus } from "./own-bus.ts";

export interface MeshOptions {
  dataDir: string;
  /** Local host agents, `local-1` and so on. */
  hosts: number;
  /** Attempts that each of them runs at once. */
  slots: number;
  /** 0 takes a free one. */
  httpPort: number;
  /** Of the nats-server of its own; 0 takes a free one. */
  natsPort: number;
  log: Logger;
  /** Configuration that the services share; `NATS_URL` in it means that no nats-server is started. */
  env: NodeJS.ProcessEnv;
  /** One short line for each step that takes time. */
  onProgress?: (text: string) => void;
  /** Ends the start, not a mesh that is up. */
  signal?: AbortSignal | undefined;
}

/** Everything answers and every host is online. Disposing ends it all; `mesh.json` goes with it. */
export interface Mesh extends AsyncDisposable {
  natsUrl: string;
  httpUrl: string;
  /** The nats-server of its own, in its first life; null when NATS_URL named one. */
  natsPid: number | null;
  /** Resolves with words when the nats-server of its own ends unasked, or another one cannot be used any more. */
  busDied: Promise<string>;
  /** Resolves when it is told to stop over the bus. */
  toldToStop: Promise<string>;
}

/** Thrown when all has been started and something does not answer. */
export class MeshNotReady extends Error {}

const READY_MS = 60_000;
const POLL_MS = 50;

export async function startMesh(options: MeshOptions): Promise<Mesh> {
  const { log, signal, onProgress = () => {} } = options;
  const dataDir = path.resolve(options.dataDir);
  makeFolder(dataDir, 0o700);
  await using stack = new AsyncDisposableStack();

  const locked = await lockFolder(dataDir, "mesh.lock");
  if (!locked.ok)
    throw new ConfigurationError(
      `a mesh runs on ${dataDir} already (process ${locked.heldBy}): stop it, or choose another folder with --data`,
    );
  stack.defer(() => locked.lock.release());
  if (options.httpPort !== 0 && (await isPortBusy("127.0.0.1", options.httpPort)))
    throw new ConfigurationError(
      `port ${options.httpPort} on 127.0.0.1 is in use: choose another with --http-port, or 0 for a free one`,
    );

  const given = await readSettings(options.env);
  let own: OwnBus | null = null;
  if (given.NATS_URL === undefined) {
    onProgress("starting nats-server");
    own = stack.use(
      await startOwnBus({
        dataDir,
        port: options.natsPort,
        syncInterval: given.MESH_NATS_SYNC_INTERVAL,
        env: options.env,
        onProgress,
        onRestart: (reason) => log.warn({ reason }, "the bus"),
        signal,
      }),
    );
  }
  const natsUrl = own?.url ?? given.NATS_URL ?? "";
  const shared = { ...given, NATS_URL: natsUrl, MESH_DATA_DIR: dataDir, MESH_HTTP_PORT: options.httpPort };
  const toBus: BusOptions = { url: natsUrl, name: "mesh up", caFile: given.NATS_CA_FILE };
  const bus = stack.use(await connectBus(toBus));
  await provision(bus);
  signal?.throwIfAborted();

  onProgress(`starting the services and ${options.hosts} host${options.hosts === 1 ? "" : "s"}`);
  const hostIds = Array.from({ length: options.hosts }, (_, index) => `local-${index + 1}`);
  const unusable = Promise.withResolvers<string>();
  const fail = ({ message }: BusError) => unusable.resolve(message);
  const named = (name: string, environment = shared) => ({ environment, log: log.child({ name }), fail });
  const gateway = startGateway(named("gateway"), { port: options.httpPort });
  const startHost = (hostId: string) =>
    startHostAgent(
      named("host-agent", {
        ...shared,
        MESH_DATA_DIR: path.join(dataDir, "hosts", hostId),
        MESH_HOST_ID: hostId,
        MESH_HOST_SLOTS: options.slots,
        MESH_ALLOW_FILE_CLONES: true,
      }),
    );
  // Released in reverse: nothing new comes in, nothing new is placed, what runs is ended and spoken of.
  await hold(stack, [
    [startStatusTracker(named("status-tracker"))],
    hostIds.map(startHost),
    [startScheduler(named("scheduler"))],
    [gateway],
  ]);
  const { url: httpUrl } = await gateway;

  await untilReady(httpUrl, hostIds, bus, signal);
  const told = Promise.withResolvers<string>();
  stack.use(serveStopOrder(bus, { environment: shared, log, stop: told.resolve }, "mesh-up"));
  await writeMeshFile(dataDir, { natsUrl, httpUrl, pid: process.pid });
  stack.defer(() => removeMeshFile(dataDir));
  const released = stack.move();
  return {
    natsUrl,
    httpUrl,
    natsPid: own?.pid ?? null,
    busDied: own === null ? unusable.promise : Promise.race([own.died, unusable.promise]),
    toldToStop: told.promise,
    [Symbol.asyncDispose]: () => released.disposeAsync(),
  };
}

/** Waits for all, and holds those that did start even if another did not; those of one group end together. */
async function hold(stack: AsyncDisposableStack, groups: Promise<AsyncDisposable>[][]): Promise<void> {
  const outcomes = await Promise.all(groups.map((group) => Promise.allSettled(group)));
  for (const group of outcomes) {
    const started = group.flatMap((outcome) => (outcome.status === "fulfilled" ? [outcome.value] : []));
    stack.defer(async () => {
      await Promise.all(started.map((service) => service[Symbol.asyncDispose]()));
    });
  }
  const failed = outcomes.flat().find((outcome) => outcome.status === "rejected");
  if (failed) throw failed.reason;
}

/** Until the gateway is ready and the tracker sees every host of ours. */
async function untilReady(
  httpUrl: string,
  hostIds: string[],
  bus: Bus,
  signal: AbortSignal | undefined,
): Promise<void> {
  const deadline = performance.now() + READY_MS;
  const mesh = natsClient(bus);
  for (;;) {
    signal?.throwIfAborted();
    const ready = await fetch(`${httpUrl}/readyz`).then(
      (response) => response.ok,
      () => false,
    );
    const hosts = await mesh.hosts();
    const online = new Set(
      hosts.ok ? hosts.value.data.filter((host) => host.online).map((host) => host.hostId) : [],
    );
    const missing = hostIds.filter((hostId) => !online.has(hostId));
    if (ready && missing.length === 0) return;
    if (performance.now() > deadline)
      throw new MeshNotReady(
        `not ready after ${READY_MS / 1_000} s: ${ready ? `not heard of ${missing.join(", ")}` : "the gateway is not ready"}`,
      );
    await new Promise((done) => setTimeout(done, POLL_MS));
  }
}
