// `mesh restore FOLDER`: puts a backup into an empty bus, or into the data folder of a `mesh up` that is not running.
// It must never touch a log that has anything on it, nor leave half of one.
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { Command } from "commander";
import type { Bus } from "../../../shared/bus/connect.ts";
import { allowForStop, interruption } from "../interruption.ts";
import { Failure, UsageError } from "../outcome.ts";
import { type CommonOptions, tell, withCommonFlags } from "../session.ts";
import { orSay } from "../up/up.ts";
import type { Manifest } from "./folder.ts";

interface Options extends CommonOptions {
  data?: string;
}

const STOP_MS = 25_000;
const WHO_MS = 1_000;

export const restoreCommand = (): Command =>
  withCommonFlags(
    new Command("restore")
      .description("put a backup into an empty bus, on which no services run yet")
      .argument("<folder>", "what `mesh backup` has written")
      .option(
        "--data <dir>",
        "without a bus: data folder of the next `mesh up` (default: as `mesh up` has it)",
      ),
  )
    .addHelpText(
      "after",
      "\nThe bus is --url or NATS_URL; without one, the data folder is restored, and `mesh up` begins there." +
        "\nTasks that ran when the backup was taken run again. Start the services afterwards.",
    )
    .action((folder: string, options: Options) => orSay(() => restore(folder, options)));

async function restore(folder: string, options: Options): Promise<void> {
  allowForStop(STOP_MS);
  const { readBackup } = await import("./folder.ts");
  const { connectBus } = await import("../../../shared/bus/connect.ts");
  const { summaryOf } = await import("./backup.ts");
  tell(options, "reading the backup");
  const manifest = await readBackup(folder);
  await using stack = new AsyncDisposableStack();
  const url = await targetOf(options, stack);
  const bus = stack.use(await connectBus({ url, name: "mesh restore", caFile: process.env.NATS_CA_FILE }));
  await fill(bus, folder, manifest, options);
  const { jsonLine } = await import("../terminal/plain-text.ts");
  process.stdout.write(options.json ? jsonLine({ folder, ...manifest }) : summaryOf(folder, manifest));
}

/** A bus that somebody runs, or one of our own for as long as this takes. */
async function targetOf(options: Options, stack: AsyncDisposableStack): Promise<string> {
  const { defaultDataDir, readEnvironment } = await import("../../../shared/config/environment.ts");
  const environment = readEnvironment();
  const url = options.url ?? environment.NATS_URL;
  if (url !== undefined) {
    if (!/^(nats|tls):/.test(url)) throw new UsageError("--url: expected the bus, nats://… or tls://…");
    if (options.data !== undefined) throw new UsageError("--data is for where no bus is named");
    return url;
  }
  const { makeFolder } = await import("../../../shared/process/make-folder.ts");
  const { lockFolder } = await import("../../../shared/process/folder-lock.ts");
  const { startOwnBus } = await import("../up/own-bus.ts");
  const dataDir = path.resolve(options.data ?? environment.MESH_DATA_DIR ?? defaultDataDir());
  makeFolder(dataDir, 0o700);
  const locked = await lockFolder(dataDir, "mesh.lock");
  if (!locked.ok)
    throw new Failure(`a mesh runs on ${dataDir} (process ${locked.heldBy}): its log is not empty`);
  stack.defer(() => locked.lock.release());
  const own = await startOwnBus({
    dataDir,
    port: 0,
    syncInterval: environment.MESH_NATS_SYNC_INTERVAL,
    env: process.env,
    onProgress: (text) => tell(options, text),
    signal: interruption,
  });
  stack.use(own);
  return own.url;
}

async function fill(bus: Bus, folder: string, manifest: Manifest, options: Options): Promise<void> {
  const { deleteStreams, restoreStream } = await import("../../../shared/bus/snapshot.ts");
  const { LASTING_STREAMS, PASSING_STREAMS } = await import("../../../shared/bus/streams.ts");
  const { contentOfFile } = await import("./folder.ts");
  const { leaseTimes, readEnvironment } = await import("../../../shared/config/environment.ts");
  const { silenceMs } = await import("../../../shared/contracts/lease.ts");
  await mustBeEmpty(bus);
  // From here on no heartbeat is stored, so no host's lease is renewed.
  await deleteStreams(bus, [...LASTING_STREAMS, ...PASSING_STREAMS]);
  const quiet = performance.now() + silenceMs(leaseTimes(readEnvironment().MESH_LEASE_MS));
  try {
    // The log last: where it is, the rest is.
    for (const { file, snapshot } of manifest.streams.toReversed()) {
      tell(options, `restoring ${snapshot.config.name}`);
      interruption.throwIfAborted();
      const { state } = await restoreStream(bus, snapshot, contentOfFile(folder, file));
      if (state.last_seq < snapshot.state.last_seq)
        throw new Failure(
          `${snapshot.config.name} ends at ${state.last_seq}, and had ${snapshot.state.last_seq}`,
        );
    }
    await mustBeTheSame(bus, manifest);
    tell(options, "waiting until nothing that hosts still run from before may act");
    await delay(Math.max(0, quiet - performance.now()), undefined, { signal: interruption }).catch(() => {});
    interruption.throwIfAborted();
  } catch (error) {
    await deleteStreams(bus, LASTING_STREAMS);
    throw error;
  }
}

async function mustBeEmpty(bus: Bus): Promise<void> {
  const { askApi } = await import("../../../shared/bus/ask.ts");
  const { streamStates } = await import("../../../shared/bus/snapshot.ts");
  const { LASTING_STREAMS } = await import("../../../shared/bus/streams.ts");
  const states = await streamStates(bus, LASTING_STREAMS);
  for (const [stream, state] of states)
    if (state !== null && state.last_seq > 0)
      throw new Failure(
        `this bus is not empty: ${stream} has got to ${state.last_seq}; restore into a new one`,
      );
  const followed = [...states.values()].some((state) => (state?.consumer_count ?? 0) > 0);
  const tracker = await askApi(bus, "hosts", {}, WHO_MS);
  if (followed || tracker.ok || tracker.error.code !== "unavailable")
    throw new Failure("services run on this bus: stop them, and start them when the backup is restored");
}

async function mustBeTheSame(bus: Bus, manifest: Manifest): Promise<void> {
  const { auditLog } = await import("./log-audit.ts");
  const { digest, tasks, unfinished } = await auditLog(bus, manifest.log.sequence);
  if (digest !== manifest.log.digest)
    throw new Failure(
      `what was restored tells another history: ${tasks} tasks, ${unfinished} unfinished, and the backup had ${manifest.log.tasks} and ${manifest.log.unfinished}`,
    );
}
