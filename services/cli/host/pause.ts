// `mesh host pause|resume`: whether this machine begins work, said by who sits at it. It goes by a file in the host agent's
// own data folder, or in one for owners who may not write there, so that it needs neither the bus nor a living host agent,
// and outlives both.
import { Command } from "commander";
import type { Pause } from "../../host-agent/owner/pause.ts";
import { Failure, messageOf, UsageError } from "../outcome.ts";
import { tell } from "../session.ts";
import { DATA_FLAG } from "./data-flag.ts";

interface Options {
  for?: string;
  now?: boolean;
  data?: string;
  json?: boolean;
  quiet?: boolean;
}

const YEAR_MS = 31_536_000_000;

export const pauseCommand = (): Command =>
  withFlags(
    new Command("pause")
      .description("let this machine begin no work, whoever else wants it to; what runs goes on")
      .option("--for <duration>", "so long (default: until `mesh host resume`)")
      .option("--now", "hand back to the mesh at once what runs"),
  ).action(async (options: Options) => {
    const { parseDuration } = await import("../../../shared/config/quantities.ts");
    const ms = options.for === undefined ? null : parseDuration(options.for);
    if (options.for !== undefined && (ms === null || ms > YEAR_MS))
      throw new UsageError("--for: expected a duration such as 30m or 2h, a year at most");
    await say(options, { untilMs: ms === null ? null : Date.now() + ms, handBack: options.now === true });
  });

export const resumeCommand = (): Command =>
  withFlags(new Command("resume").description("take back what `mesh host pause` has said")).action(
    (options: Options) => say(options, null),
  );

const withFlags = (command: Command): Command =>
  command
    .option("--data <dir>", DATA_FLAG)
    .option("--json", "print one line of JSON")
    .option("--quiet", "no messages on stderr but errors");

async function say(options: Options, pause: Pause | null): Promise<void> {
  const { holderOf } = await import("../../../shared/process/folder-lock.ts");
  const { removePause, writePause } = await import("../../host-agent/owner/pause.ts");
  const { HOST_LOCK } = await import("../../host-agent/identity.ts");
  const { noneUsed, ownersFolder, usedFolders } = await import("./host-folders.ts");
  const { jsonLine } = await import("../terminal/plain-text.ts");
  const ofHosts = await usedFolders(options.data);
  const ofOwner = options.data === undefined ? await ownersFolder() : null;
  const folders = [...new Set([...ofHosts, ...(ofOwner === null ? [] : [ofOwner])])];
  if (folders.length === 0) throw noneUsed(options.data);
  const hosts = [];
  for (const folder of folders) {
    try {
      await (pause === null ? removePause(folder) : writePause(folder, pause));
    } catch (error) {
      throw new Failure(`${messageOf(error)}: expected to be whoever the host agent of ${folder} runs as`);
    }
    // Of a host agent whose data folder is another one nobody can tell.
    const running = ofHosts.includes(folder) ? (await holderOf(folder, HOST_LOCK)) !== null : null;
    hosts.push({ dataDir: folder, running, pause });
    tell(
      options,
      `${folder}: ${inWords(pause)}${running === false ? " (no host agent runs on it now)" : ""}`,
    );
  }
  if (options.json) process.stdout.write(jsonLine({ data: hosts }));
}

function inWords(pause: Pause | null): string {
  if (pause === null) return "may begin work, as far as its owner's other rules let it";
  const until = pause.untilMs === null ? "" : ` until ${new Date(pause.untilMs).toISOString()}`;
  return `begins no work${until}${pause.handBack ? ", and hands back what runs" : ""}`;
}
