// `mesh backup FOLDER`: a copy of the log and of what its facts name, taken while the mesh runs and held against the
// invariants. It must never leave a folder that looks like a backup and is none.
import { Command } from "commander";
import type { Bus } from "../../../shared/bus/connect.ts";
import { findBus } from "../find-bus.ts";
import { interruption } from "../interruption.ts";
import { Failure, valueOf } from "../outcome.ts";
import { type CommonOptions, tell, withCommonFlags } from "../session.ts";
import { orSay } from "../up/up.ts";
import type { Manifest, NewBackup } from "./folder.ts";

export const backupCommand = (): Command =>
  withCommonFlags(
    new Command("backup")
      .description("copy the log, artifacts and settings of a running mesh into a new folder, and check it")
      .argument("<folder>", "a folder that is not there yet"),
  )
    .addHelpText("after", "\nIt is read on the bus, not at the gateway. `mesh restore` puts it back.")
    .action((folder: string, options: CommonOptions) => orSay(() => backup(folder, options)));

async function backup(folder: string, options: CommonOptions): Promise<void> {
  const { connectBus } = await import("../../../shared/bus/connect.ts");
  const { createBackup } = await import("./folder.ts");
  const { url } = valueOf(await findBus(options.url));
  await using bus = await connectBus({ url, name: "mesh backup", caFile: process.env.NATS_CA_FILE });
  const target = await createBackup(folder);
  let manifest: Omit<Manifest, "format">;
  try {
    manifest = await copy(bus, target, options);
    await target.seal(manifest);
  } catch (error) {
    await target.discard();
    throw error;
  }
  const { jsonLine } = await import("../terminal/plain-text.ts");
  process.stdout.write(options.json ? jsonLine({ folder, ...manifest }) : summaryOf(folder, manifest));
  const { missing } = manifest.log.artifacts;
  if (missing.length > 0)
    throw new Failure(
      `${missing.length} artifacts that results name are not on the bus, though they are young enough: ${missing.slice(0, 5).join(", ")}`,
    );
}

async function copy(bus: Bus, target: NewBackup, options: CommonOptions): Promise<Omit<Manifest, "format">> {
  const { snapshotStream, streamStates } = await import("../../../shared/bus/snapshot.ts");
  const { LASTING_STREAMS, TASKS } = await import("../../../shared/bus/streams.ts");
  const { auditLog } = await import("./log-audit.ts");
  const at = new Date().toISOString();
  const there = await streamStates(bus, LASTING_STREAMS);
  if (!there.get(TASKS)) throw new Failure("this bus has no log: no mesh has ever run on it");
  const streams: Manifest["streams"] = [];
  // The log first: an artifact is stored before the fact that names it, so whatever these facts name comes after.
  for (const stream of LASTING_STREAMS) {
    if (!there.get(stream)) continue;
    tell(options, `copying ${stream}`);
    streams.push(
      await target.add(stream, (write) =>
        snapshotStream(bus, stream, (chunk) => {
          interruption.throwIfAborted();
          return write(chunk);
        }),
      ),
    );
  }
  tell(options, "checking it");
  const upTo = streams.find(({ snapshot }) => snapshot.config.name === TASKS)?.snapshot.state.last_seq ?? 0;
  const log = await auditLog(bus, upTo);
  return { at, server: bus.connection.info?.version ?? "", streams, log };
}

/** What lies in a backup, for a person. */
export function summaryOf(folder: string, { streams, log }: Pick<Manifest, "streams" | "log">): string {
  const { kept, agedOut } = log.artifacts;
  const bytes = streams.reduce((sum, stream) => sum + stream.bytes, 0);
  const messages = streams.map(
    ({ snapshot: { config, state } }) =>
      `  ${config.name.padEnd(18)} ${state.messages} messages, ${state.first_seq} to ${state.last_seq}\n`,
  );
  return [
    `${folder}: ${bytes} bytes\n`,
    ...messages,
    `  ${log.tasks} tasks: ${log.unfinished} unfinished, ${log.succeeded} succeeded, ${log.failed} failed, ${log.cancelled} cancelled\n`,
    `  ${kept} artifacts that results name are there, ${agedOut} have aged out\n`,
  ].join("");
}
