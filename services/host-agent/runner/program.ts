// An agent's program where instances are: its file, which version, and whether it can be used. It is the machine's own
// installation, and never fetched.
import { access, constants } from "node:fs/promises";
import path from "node:path";
import { execa } from "execa";
import { type GreetProgram, greetHere } from "./acp/greet.ts";
import type { Probe } from "./runner.ts";

const PROBE_MS = 10_000;

/** One agent's program, and what an operator calls it by. */
export interface ProgramKind {
  name: string;
  /** Since this version its flags and events are known. */
  lowest: string;
  /** Environment variables that name its file, and the only version that is taken. */
  fileVariable: string;
  versionVariable: string;
}

/** What an operator has said of it. */
export interface ProgramOptions {
  /** The program, by its path; looked for by its name if not given. */
  file: string | undefined;
  look: LookForProgram;
  version: string | undefined;
}

/** Where a program is, and what it prints as its version (null: it fails); null if there is none. */
export type LookForProgram = (
  name: string,
  file: string | undefined,
) => Promise<{ file: string; said: string | null } | null>;

/** What is known of programs where instances are. */
export interface ProgramsThere {
  look: LookForProgram;
  greet: GreetProgram;
}

type Found = Extract<Probe, { ok: false }> | { ok: true; file: string; version: string };

export async function findProgram(kind: ProgramKind, options: ProgramOptions): Promise<Found> {
  const { name, lowest, fileVariable, versionVariable } = kind;
  const looked = await options.look(name, options.file);
  if (looked === null)
    return { ok: false, reason: `no program ${name} on PATH, and none named in ${fileVariable}` };
  const { file, said } = looked;
  const version = /(?<![\d.])(\d+\.\d+\.\d+)\b/.exec(said ?? "")?.[1];
  if (version === undefined) return { ok: false, reason: `${file} does not say which version it is` };
  if (options.version !== undefined && version !== options.version)
    return { ok: false, reason: `${file} is ${version}; ${versionVariable} wants ${options.version}` };
  if (isOlder(version, lowest))
    return { ok: false, reason: `${file} is ${version}; ${lowest} or newer is needed` };
  return { ok: true, file, version };
}

export const programsHere = (searchPath: string): ProgramsThere => ({
  look: lookOn(searchPath),
  greet: greetHere,
});

/** On this machine. */
export const lookOn =
  (searchPath: string): LookForProgram =>
  async (name, given) => {
    const file = given ?? (await onPath(name, searchPath));
    if (file === null) return null;
    const { stdout, failed } = await execa(file, ["--version"], {
      stdin: "ignore",
      reject: false,
      timeout: PROBE_MS,
    });
    return { file, said: failed ? null : stdout };
  };

/** Those of this program's own packages are not shown inside. */
const isShown = (folder: string): boolean =>
  path.isAbsolute(folder) && !folder.endsWith(path.join("node_modules", ".bin"));

async function onPath(name: string, searchPath: string): Promise<string | null> {
  for (const folder of searchPath.split(path.delimiter).filter(isShown)) {
    const file = path.join(folder, process.platform === "win32" ? `${name}.exe` : name);
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
