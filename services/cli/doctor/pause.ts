// Whether who uses this machine may say `mesh host pause` to a host agent that runs as somebody else.
import { existsSync } from "node:fs";
import { rm, writeFile } from "node:fs/promises";
import path from "node:path";
import type { Environment } from "../../../shared/config/environment.ts";
import { systemErrorCode } from "../../../shared/process/system-error.ts";
import { type Finding, ok, warn } from "./finding.ts";

/** `problem`: the system's code for why nothing can be written there; null if it can. */
export type PauseReading = { folder: string; problem: string | null } | null;

export function judgePause(reading: PauseReading): Finding[] {
  if (reading === null) return [];
  const { folder, problem } = reading;
  if (problem === null) return [ok("pause", `\`mesh host pause\` may be said, in ${folder}`)];
  return [
    warn(
      "pause",
      problem === "ENOENT"
        ? `${folder} is not there: nobody but the host agent's own account can pause it`
        : `nothing can be written in ${folder} (${problem}): who uses this machine cannot pause it`,
      "run `mesh host install` again, which makes it for whoever is logged on",
    ),
  ];
}

/** On Windows access is known by trying alone. */
export async function readPauseFolder(environment: Environment): Promise<PauseReading> {
  const folder = environment.MESH_HOST_PAUSE_DIR ?? (await serviceFolder());
  if (folder === null) return null;
  const probe = path.join(folder, `doctor.${process.pid}`);
  try {
    await writeFile(probe, "");
    await rm(probe);
    return { folder, problem: null };
  } catch (error) {
    return { folder, problem: systemErrorCode(error) ?? String(error) };
  }
}

/** Elsewhere it is the data folder, of whoever owns that. */
async function serviceFolder(): Promise<string | null> {
  if (process.platform !== "win32") return null;
  const { machineOf } = await import("../host/wanted.ts");
  const { windows } = await import("../host/windows.ts");
  const folder = windows.pauseFolder(machineOf("win32"));
  return existsSync(folder) ? folder : null;
}
