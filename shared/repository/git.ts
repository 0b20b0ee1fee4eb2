// The only place that starts git: without a shell, with this machine's own credentials, and without anything
// that a repository could make it run.
import { execa } from "execa";
import { ENVIRONMENT_NAMES } from "../config/environment.ts";

export interface GitOptions {
  cwd?: string;
  env?: Record<string, string>;
  allowFileClones?: boolean;
  signal?: AbortSignal;
  timeoutMs?: number;
  /** For its stdin. */
  input?: string;
  /** Address space that it may have, where the system has such a limit; with more it fails. */
  memoryBytes?: number;
}

export interface GitResult {
  ok: boolean;
  exitCode: number | null;
  stdout: string;
  /** Its last lines, without what stands before an @ in a URL. */
  stderr: string;
}

const TIMEOUT_MS = 1_800_000;
const OUTPUT_MAX_BYTES = 10_000_000;
const STDERR_CHARACTERS = 2_000;
const SAFE_CONFIG = [
  "core.hooksPath=/dev/null",
  "core.fsmonitor=false",
  "core.longpaths=true",
  "gc.auto=0",
  "maintenance.auto=false",
  "advice.detachedHead=false",
  "init.defaultBranch=main",
].flatMap((pair) => ["-c", pair]);

/** Never rejects: a git that fails, is aborted or takes too long is a result. */
export async function git(args: string[], options: GitOptions = {}): Promise<GitResult> {
  const [program, ...before] = programFor(options.memoryBytes);
  const result = await execa(program, [...before, ...SAFE_CONFIG, ...args], {
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    env: { ...gitEnvironment(process.env, options.allowFileClones ?? false), ...options.env },
    extendEnv: false,
    ...(options.signal === undefined ? {} : { cancelSignal: options.signal }),
    timeout: options.timeoutMs ?? TIMEOUT_MS,
    forceKillAfterDelay: 5_000,
    // Those it has set to talk to a remote do not end with it, and may wait for that one for ever.
    killDescendants: true,
    maxBuffer: OUTPUT_MAX_BYTES,
    ...(options.input === undefined ? { stdin: "ignore" } : { input: options.input }),
    reject: false,
    stripFinalNewline: true,
  });
  return {
    ok: !result.failed,
    exitCode: result.exitCode ?? null,
    stdout: result.stdout,
    stderr: withoutSecrets(result.stderr || (result.failed ? (result.shortMessage ?? "") : "")).slice(
      -STDERR_CHARACTERS,
    ),
  };
}

/** A limit is a process's own: a shell sets it, and becomes git. */
const programFor = (memoryBytes: number | undefined): [string, ...string[]] =>
  memoryBytes === undefined || process.platform !== "linux"
    ? ["git"]
    : ["/bin/sh", "-c", 'ulimit -v "$0" && exec git "$@"', String(Math.floor(memoryBytes / 1_024))];

/**
 * The machine's environment, for its credential helpers and agents, less what would point git elsewhere, and less our own
 * settings: a bus's token is nobody's business there.
 */
function gitEnvironment(env: NodeJS.ProcessEnv, allowFileClones: boolean): Record<string, string> {
  const own = Object.fromEntries(
    Object.entries(env).filter(
      ([name, value]) =>
        value !== undefined && !OURS.has(name) && (!name.startsWith("GIT_") || KEPT.has(name)),
    ),
  ) as Record<string, string>;
  return {
    GIT_SSH_COMMAND: "ssh -o BatchMode=yes",
    ...own,
    LC_ALL: "C",
    GIT_TERMINAL_PROMPT: "0",
    GIT_LFS_SKIP_SMUDGE: "1",
    GIT_ALLOW_PROTOCOL: `https:http:ssh:git${allowFileClones ? ":file" : ""}`,
  };
}

const OURS = new Set<string>(ENVIRONMENT_NAMES);
const KEPT = new Set([
  "GIT_SSH",
  "GIT_SSH_COMMAND",
  "GIT_ASKPASS",
  "GIT_SSL_CAINFO",
  "GIT_SSL_CAPATH",
  "GIT_SSL_NO_VERIFY",
  "GIT_PROXY_COMMAND",
  "GIT_EXEC_PATH",
  "GIT_CONFIG_GLOBAL",
  "GIT_CONFIG_SYSTEM",
  "GIT_CONFIG_NOSYSTEM",
]);

const withoutSecrets = (text: string): string => text.replaceAll(/:\/\/[^@\s/]+@/g, "://");
