// Distros that are copies of the golden one's disk, each in a folder of its own: made, and removed. A disk is whole
// before anybody is told of it, so whatever is registered can start.
import { existsSync } from "node:fs";
import { mkdir, rename, rm } from "node:fs/promises";
import path from "node:path";
import { execa } from "execa";
import { ownProgram } from "../../../shared/process/own-program.ts";
import { systemErrorCode } from "../../../shared/process/system-error.ts";
import { GOLDEN_DISTRO } from "./distro-layout.ts";
import type { Wsl } from "./wsl.ts";
import { failed, type WslOutcome } from "./wsl-error.ts";

export interface CopiedDistro {
  distro: string;
  /** Below the folder of all distros, on the same volume as the golden disk. */
  folder: string;
}

/** Windows' own name for it, which a copy has to keep. */
const DISK = "ext4.vhdx";
/** The service lets go of a disk some time after its distro has stopped. */
const IN_USE = new Set(["EBUSY", "EPERM", "EACCES"]);
const FOLDER_RETRIES = 10;
/** Of a disk of many gigabytes, ms. */
const COPY_MS = 1_800_000;

/** Where the disk lies that copies are made of. */
const sourceIn = (distros: string): string => path.join(distros, "golden.vhdx");

/** Path of the disk that copies are made of. The first time the golden distro is stopped for it. */
export async function copySource(wsl: Wsl, distros: string): Promise<WslOutcome<string>> {
  const source = sourceIn(distros);
  if (existsSync(source)) return { ok: true, value: source };
  await mkdir(distros, { recursive: true });
  const draft = path.join(distros, "golden.new.vhdx");
  await rm(draft, { force: true });
  const done = await wsl.exportTo({ distro: GOLDEN_DISTRO, file: draft });
  if (!done.ok) {
    await rm(draft, { force: true });
    return done;
  }
  await rename(draft, source);
  return { ok: true, value: source };
}

/** For when the golden distro is another one. */
export const dropCopySource = (distros: string): Promise<void> => rm(sourceIn(distros), { force: true });

/** Rejects with the signal's reason, and leaves nothing then either. */
export async function copyDistro(
  wsl: Wsl,
  source: string,
  { distro, folder }: CopiedDistro,
  signal: AbortSignal,
): Promise<WslOutcome<null>> {
  signal.throwIfAborted();
  // Nobody's, or what a former life left: a registered one would have been found by its name.
  await removeFolder(folder);
  await mkdir(folder, { recursive: true });
  const put = await putDisk(source, folder, signal);
  const isWanted = put.ok && !signal.aborted;
  const done = isWanted ? await wsl.importInPlace({ distro, disk: path.join(folder, DISK) }) : put;
  if (isWanted && done.ok) return done;
  await removeFolder(folder);
  signal.throwIfAborted();
  return done;
}

/** Also what of it lies in its folder, which Windows may leave. */
export async function removeDistro(wsl: Wsl, { distro, folder }: CopiedDistro): Promise<WslOutcome<null>> {
  const done = await wsl.unregister(distro);
  if (!done.ok && done.failure.reason !== "no-such-distro") return done;
  try {
    await removeFolder(folder);
    return { ok: true, value: null };
  } catch (error) {
    if (systemErrorCode(error) === undefined) throw error;
    return failed("disk-in-use", `${folder} cannot be removed: ${(error as Error).message}`);
  }
}

const removeFolder = (folder: string): Promise<void> =>
  rm(folder, { recursive: true, force: true, maxRetries: FOLDER_RETRIES });

async function putDisk(source: string, folder: string, signal: AbortSignal): Promise<WslOutcome<null>> {
  const [program, ...args] = ownProgram("services/host-agent/wsl/copy-file.ts");
  const { failed: hasFailed, stderr } = await execa(program, [...args, source, path.join(folder, DISK)], {
    stdin: "ignore",
    reject: false,
    timeout: COPY_MS,
    cancelSignal: signal,
    forceKillAfterDelay: false,
    killSignal: "SIGKILL",
  });
  if (!hasFailed) return { ok: true, value: null };
  const [, code = "", message = "it was ended"] = /^([A-Z]+) (.*)$/m.exec(stderr) ?? [];
  const reason = code === "ENOSPC" ? "disk-full" : IN_USE.has(code) ? "disk-in-use" : "file-missing";
  return failed(reason, `the disk ${source} cannot be copied to ${folder}: ${message}`);
}
