// The data folders of this machine's host agents, for verbs that go by those and not by the bus.
import { access } from "node:fs/promises";
import path from "node:path";
import { defaultDataDir } from "../../../shared/config/environment.ts";
import { systemErrorCode } from "../../../shared/process/system-error.ts";
import { dataFoldersBelow, INSTALLATION_FILE } from "../../host-agent/identity.ts";
import { Failure } from "../outcome.ts";
import { managerOf } from "./managers.ts";
import type { Platform } from "./plan.ts";
import { machineOf } from "./wanted.ts";

/** At least one; `given`: by `--data`. */
export async function hostFolders(given: string | undefined): Promise<string[]> {
  const folders = await usedFolders(given);
  if (folders.length === 0) throw noneUsed(given);
  return folders;
}

const dataDirOf = (given: string | undefined): string =>
  path.resolve(given ?? (process.env.MESH_DATA_DIR || defaultDataDir()));

export const noneUsed = (given: string | undefined): Failure =>
  new Failure(`no host agent has ever run on ${dataDirOf(given)}: name its data folder by --data`);

/** Those folders that a host agent has used. */
export async function usedFolders(given: string | undefined): Promise<string[]> {
  const folders = await dataFoldersBelow(dataDirOf(given));
  const used = await Promise.all(
    folders.map(async (folder) => ((await isThere(path.join(folder, INSTALLATION_FILE))) ? [folder] : [])),
  );
  return used.flat();
}

/** Where a host agent that runs as somebody else is told things: that of the machine's service unless told otherwise. */
export async function ownersFolder(): Promise<string | null> {
  const { MESH_HOST_PAUSE_DIR: named, MESH_DATA_DIR: dataDir } = process.env;
  if (named) return path.resolve(named);
  if (dataDir) return null;
  const platform = process.platform as Platform;
  const folder = managerOf(platform).pauseFolder(machineOf(platform));
  return (await isThere(folder)) ? folder : null;
}

/** What may not be looked at is there: whoever means it is told so when they write to it. */
const isThere = (file: string): Promise<boolean> =>
  access(file).then(
    () => true,
    (error: unknown) => !["ENOENT", "ENOTDIR"].includes(systemErrorCode(error) ?? ""),
  );
