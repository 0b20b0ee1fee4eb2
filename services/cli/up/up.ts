// `mesh up`: a whole mesh on this machine, until it is told to stop. Everything it opens is on loopback, and it must
// never leave anything running.
import { Command } from "commander";
import { systemErrorCode } from "../../../shared/process/system-error.ts";
import { allowForStop, interruption } from "../interruption.ts";
import { Failure, messageOf, UsageError } from "../outcome.ts";
import { tell } from "../session.ts";

interface Options {
  data?: string;
  hosts: string;
  slots?: string;
  httpPort?: string;
  natsPort: string;
  json?: boolean;
  quiet?: boolean;
  verbose?: boolean;
}

const STOP_MS = 25_000;

export const upCommand = (): Command =>
  new Command("up")
    .description("start a whole mesh on this machine: nats-server, services, local hosts")
    .option("--data <dir>", "data folder (default: MESH_DATA_DIR, or the user's own)")
    .option("--hosts <number>", "local hosts", "3")
    .option("--slots <number>", "attempts that each host runs at once (default: MESH_HOST_SLOTS, or 2)")
    .option("--http-port <port>", "port of the gateway, 0 for a free one (default: MESH_HTTP_PORT, or 7400)")
    .option("--nats-port <port>", "port of the nats-server, 0 for a free one", "4222")
    .option("--json", "print one line of JSON once everything answers")
    .option("--quiet", "no messages on stderr but errors")
    .option("--verbose", "show the services' log on stderr as well")
    .action(up);

async function up(options: Options): Promise<void> {
  allowForStop(STOP_MS);
  const { defaultDataDir } = await import("../../../shared/config/environment.ts");
  const { readSettings } = await import("../../../shared/config/mesh-config.ts");
  const { wholeOf } = await import("../tasks/deploy-request.ts");
  const { startMesh } = await import("./mesh-in-one.ts");
  const { meshLogFile, openMeshLog } = await import("./mesh-log.ts");
  const environment = await orSay(() => readSettings());
  const dataDir = options.data ?? environment.MESH_DATA_DIR ?? defaultDataDir();
  const wanted = {
    hosts: wholeOf("--hosts", options.hosts, 0, 100),
    slots:
      options.slots === undefined ? environment.MESH_HOST_SLOTS : wholeOf("--slots", options.slots, 1, 1_000),
    httpPort:
      options.httpPort === undefined
        ? environment.MESH_HTTP_PORT
        : wholeOf("--http-port", options.httpPort, 0, 65_535),
    natsPort: wholeOf("--nats-port", options.natsPort, 0, 65_535),
  };
  try {
    const log = await orSay(async () => openMeshLog(dataDir, process.env, options.verbose ?? false));
    const onProgress = (text: string) => tell(options, text);
    await using mesh = await orSay(() =>
      startMesh({ dataDir, ...wanted, log, env: process.env, onProgress, signal: interruption }),
    );
    if (options.json) {
      const pids = { mesh: process.pid, nats: mesh.natsPid };
      process.stdout.write(
        `${JSON.stringify({ ready: true, natsUrl: mesh.natsUrl, httpUrl: mesh.httpUrl, pids })}\n`,
      );
    } else process.stdout.write(summary(mesh, wanted.hosts, dataDir, meshLogFile(dataDir)));
    const toldToStop = mesh.toldToStop.then(() => null);
    const end = await Promise.race([mesh.busDied, toldToStop, interrupted()]);
    if (end !== null) throw new Failure(end);
    tell(options, "stopping");
  } catch (error) {
    // A signal is how it is meant to end, while it starts too.
    if (!interruption.aborted || error !== interruption.reason) throw error;
  }
}

function summary(
  { natsUrl, httpUrl }: { natsUrl: string; httpUrl: string },
  hosts: number,
  dataDir: string,
  logFile: string,
): string {
  return [
    `The mesh is up, with ${hosts} local host${hosts === 1 ? "" : "s"}.`,
    `  HTTP  ${httpUrl}`,
    `  NATS  ${natsUrl}`,
    `  data  ${dataDir}`,
    `  log   ${logFile}`,
    "Try, in another terminal:",
    `  export MESH_URL=${httpUrl}`,
    "  mesh hosts",
    "  mesh deploy --repo owner/name --pr-branch BRANCH --sha SHA --wait -- COMMAND",
    `  curl -N ${httpUrl}/v1/events`,
    "Ctrl-C stops it, and so does `mesh stop --service mesh-up`.",
    "",
  ].join("\n");
}

const interrupted = (): Promise<null> =>
  new Promise((resolve) => {
    if (interruption.aborted) resolve(null);
    interruption.addEventListener("abort", () => resolve(null));
  });

/** Runs what may fail for reasons that a person can do something about, and has its words said without a stack. */
export async function orSay<Value>(work: () => Promise<Value>): Promise<Value> {
  const { ConfigurationError, SettingError } = await import("../../../shared/config/environment.ts");
  const { BusError } = await import("../../../shared/bus/connect.ts");
  const { NatsServerNotStarted } = await import("../../../shared/nats-server/launch.ts");
  const { NatsServerNotFound } = await import("../../../shared/nats-server/locate.ts");
  const { MeshNotReady } = await import("./mesh-in-one.ts");
  try {
    return await work();
  } catch (error) {
    if (error instanceof UsageError || error instanceof Failure) throw error;
    if (error instanceof SettingError) throw new UsageError(error.message);
    const known = [ConfigurationError, BusError, NatsServerNotStarted, NatsServerNotFound, MeshNotReady];
    if (known.some((kind) => error instanceof kind)) throw new Failure(messageOf(error));
    if (systemErrorCode(error) !== undefined) throw new Failure(messageOf(error));
    throw error;
  }
}
