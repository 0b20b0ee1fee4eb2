// Asks programs on this machine which nats-server they are. It must never start a server, nor judge a version.
import { access, constants, stat } from "node:fs/promises";
import { delimiter, isAbsolute, join } from "node:path";
import { execa } from "execa";

export interface ProbeContext {
  readonly env: NodeJS.ProcessEnv;
  readonly signal?: AbortSignal | undefined;
}

export type Probe =
  | { readonly ok: true; readonly version: string }
  | { readonly ok: false; readonly reason: string };

export const programName = process.platform === "win32" ? "nats-server.exe" : "nats-server";

/** Runs `path --version`: the version without its "v" ("2.15.1"), or why there is none. */
export async function probeProgram(path: string, { env, signal }: ProbeContext): Promise<Probe> {
  const result = await execa(path, ["--version"], {
    env,
    extendEnv: false,
    stdin: "ignore",
    reject: false,
    timeout: 10_000,
    ...(signal === undefined ? {} : { cancelSignal: signal }),
  });
  signal?.throwIfAborted();
  const version = /^nats-server: v(\S+)/m.exec(result.stdout)?.[1];
  if (result.failed) return { ok: false, reason: whyItFailed(result) };
  if (version === undefined) {
    return { ok: false, reason: 'its answer to --version is not "nats-server: v…"' };
  }
  return { ok: true, version };
}

/** Every nats-server on PATH, in PATH's order. Relative entries are left out: they mean what the folder says. */
export async function programsOnPath(env: NodeJS.ProcessEnv): Promise<string[]> {
  const folders = (env["PATH"] ?? env["Path"] ?? "").split(delimiter).filter((folder) => isAbsolute(folder));
  const found: string[] = [];
  for (const path of new Set(folders.map((folder) => join(folder, programName)))) {
    if (await isProgram(path)) found.push(path);
  }
  return found;
}

interface Failure {
  readonly code?: string | undefined;
  readonly exitCode?: number | undefined;
  readonly timedOut: boolean;
  readonly stderr: string;
}

/** One line for a person: how a program ended, with the last thing it said. */
export function whyItFailed({ code, exitCode, timedOut, stderr }: Failure): string {
  if (code === "ENOENT") return "there is no such program";
  if (code === "EACCES") return "it may not be executed";
  if (timedOut) return "it did not end in time";
  const lastLine = stderr.trim().split("\n").at(-1) ?? "";
  const how =
    exitCode === undefined ? `it could not be run (${code ?? "ended by a signal"})` : `exit code ${exitCode}`;
  return lastLine === "" ? how : `${how}: ${lastLine}`;
}

async function isProgram(path: string): Promise<boolean> {
  try {
    await access(path, constants.X_OK);
    return (await stat(path)).isFile();
  } catch {
    return false;
  }
}
