// The data folders of this machine's host agents, for verbs that go by those and not by the bus.
import { access, readdir } from "node:fs/promises";
import path from "node:path";
import { defaultDataDir } from "../../../shared/config/environment.ts";
import { INSTALLATION_FILE } from "../../host-agent/identity.ts";
import { Failure } from "../outcome.ts";

/** At least one; `given`: by `--data`. */
export async function hostFolders(given: string | undefined): Promise<string[]> {
  const dataDir = path.resolve(given ?? (process.env.MESH_DATA_DIR || defaultDataDir()));
  const folders = await usedBelow(dataDir);
  if (folders.length === 0)
    throw new Failure(`no host agent has ever run on ${dataDir}: name its data folder by --data`);
  return folders;
}

/** Folders that a host agent has used: this one itself, or those that a host agent or `mesh up` keeps below it. */
async function usedBelow(dataDir: string): Promise<string[]> {
  const below = await readdir(path.join(dataDir, "hosts")).catch(() => []);
  const folders = [
    dataDir,
    path.join(dataDir, "host"),
    ...below.map((name) => path.join(dataDir, "hosts", name)),
  ];
  const used = await Promise.all(
    folders.map((folder) =>
      access(path.join(folder, INSTALLATION_FILE)).then(
        () => [folder],
        () => [],
      ),
    ),
  );
  return used.flat();
}
