// A shell in the kept workspace of a failed attempt, on the host where it is: on this machine's own disk, or in a distro.
import { readFile } from "node:fs/promises";
import path from "node:path";
import type { Environment } from "../../shared/config/environment.ts";
import { dataFoldersBelow, INSTALLATION_FILE } from "./identity.ts";
import { enterKept } from "./workspace/enter-kept.ts";
import { findKept, KEPT_FOLDER, type KeptWorkspace } from "./workspace/kept-workspaces.ts";
import { findKeptInDistro } from "./wsl/kept-in-distro.ts";

export interface KeptShell {
  about: KeptWorkspace;
  /** Resolves with its exit code, null if it was ended by a signal. `command`: in place of an interactive shell. */
  enter(command: string[]): Promise<number | null>;
}

/** Null if none of the hosts with data below `dataDir` keeps anything of the task. */
export async function findKeptShell(
  dataDir: string,
  taskId: string,
  environment: Environment,
): Promise<KeptShell | null> {
  const places = await dataFoldersBelow(dataDir);
  for (const place of places) {
    const kept = await findKept(path.join(place, KEPT_FOLDER), taskId);
    const hidden = environment.MESH_HOST_SANDBOX
      ? { dataDir: place, tools: environment.MESH_HOST_TOOLS }
      : null;
    if (kept !== null) return { about: kept.about, enter: (command) => enterKept(kept, command, hidden) };
  }
  const installations = await Promise.all(
    places.map((place) => readFile(path.join(place, INSTALLATION_FILE), "utf8").catch(() => "")),
  );
  const known = installations.map((text) => text.trim()).filter((text) => text !== "");
  return findKeptInDistro(known, taskId, environment);
}
