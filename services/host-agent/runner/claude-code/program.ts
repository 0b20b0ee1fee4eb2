// The program `claude` on this host: where it is, which version, and whether it can be used here. It is the host's own
// installation, and never fetched.
import { access, constants } from "node:fs/promises";
import path from "node:path";
import { execa } from "execa";
import type { Probe } from "../runner.ts";

/** Since this version its flags and events are known. */
export const LOWEST_VERSION = "2.1.330";
const PROBE_MS = 10_000;

export interface ProgramOptions {
  /** The program, by its path; looked up on `searchPath` if not given. */
  file: string | undefined;
  searchPath: string;
  /** The only version that is taken. */
  version: string | undefined;
}

export type Found = Extract<Probe, { ok: false }> | { ok: true; file: string; version: string };

export async function findProgram(options: ProgramOptions): Promise<Found> {
  const file = options.file ?? (await onPath(options.searchPath));
  if (file === null)
    return { ok: false, reason: "no program claude on PATH, and none named in MESH_CLAUDE_BIN" };
  const { stdout, failed } = await execa(file, ["--version"], {
    stdin: "ignore",
    reject: false,
    timeout: PROBE_MS,
  });
  const version = /^(\d+\.\d+\.\d+)/.exec(stdout)?.[1];
  if (failed || version === undefined)
    return { ok: false, reason: `${file} does not say which version it is` };
  if (options.version !== undefined && version !== options.version)
    return { ok: false, reason: `${file} is ${version}; MESH_CLAUDE_VERSION wants ${options.version}` };
  if (isOlder(version, LOWEST_VERSION))
    return { ok: false, reason: `${file} is ${version}; ${LOWEST_VERSION} or newer is needed` };
  return { ok: true, file, version };
}

async function onPath(searchPath: string): Promise<string | null> {
  for (const folder of searchPath.split(path.delimiter).filter((entry) => path.isAbsolute(entry))) {
    const file = path.join(folder, process.platform === "win32" ? "claude.exe" : "claude");
    const usable = await access(file, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (usable) return file;
  }
  return null;
}

function isOlder(version: string, than: string): boolean {
  const [parts, others] = [version, than].map((text) => text.split(".").map(Number));
  for (const [index, other] of (others ?? []).entries()) {
    const difference = (parts?.[index] ?? 0) - other;
    if (difference !== 0) return difference < 0;
  }
  return false;
}
