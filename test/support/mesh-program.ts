// The program `mesh` as a user runs it: its own process, with what it printed and how it ended. It must never touch
// the user's own data folder or mesh.
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { access, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { text } from "node:stream/consumers";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { inject } from "vitest";

const PROGRAM = path.resolve(import.meta.dirname, "../../node_modules/.bin/mesh");
const OTHER_MESH = ["MESH_URL", "NATS_URL", "MESH_DATA_DIR", "MESH_CONFIG", "FORCE_COLOR"];

export interface Ended {
  code: number | null;
  stdout: string;
  stderr: string;
}

interface Wanted {
  env?: NodeJS.ProcessEnv;
  /** All that it reads; null: what a test writes to it, as somebody who types. */
  input?: string | null;
  /** The Node that a user has on PATH. */
  node?: string;
}

export function startProgram(
  args: string[],
  { env = {}, input, node }: Wanted = {},
): ChildProcess & { ended: Promise<Ended> } {
  const inherited = Object.entries(process.env).filter(([name]) => !OTHER_MESH.includes(name));
  const child = spawn(node ?? PROGRAM, node === undefined ? args : [PROGRAM, ...args], {
    env: {
      ...Object.fromEntries(inherited),
      NATS_SERVER_BIN: inject("natsServerProgram"),
      // Nothing is ever looked for in the user's own folder.
      MESH_DATA_DIR: path.join(tmpdir(), "no-mesh-here"),
      NO_COLOR: "1",
      ...env,
    },
    stdio: ["pipe", "pipe", "pipe"],
  });
  // A program need not read all that it is given.
  child.stdin.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error;
  });
  if (input !== null) child.stdin.end(input ?? "");
  const outcome = Promise.all([once(child, "close"), text(child.stdout), text(child.stderr)]);
  const ended = outcome.then(
    ([[code], stdout, stderr]): Ended => ({ code: code as number | null, stdout, stderr }),
  );
  return Object.assign(child, { ended });
}

export const runMesh = (args: string[], wanted: Wanted = {}): Promise<Ended> =>
  startProgram(args, wanted).ended;

export interface UpMesh extends AsyncDisposable {
  ready: { ready: true; natsUrl: string; httpUrl: string; pids: { mesh: number; nats: number } };
  dataDir: string;
  process: ReturnType<typeof startProgram>;
  /** Runs a verb against this mesh. */
  mesh: (args: string[], wanted?: Wanted) => Promise<Ended>;
}

/** `mesh up --json` on a folder of its own and free ports, once it is ready. */
export async function startUp(
  args: string[] = [],
  wanted: Wanted & { dataDir?: string } = {},
): Promise<UpMesh> {
  const dataDir = wanted.dataDir ?? (await mkdtemp(path.join(tmpdir(), "mesh-up-")));
  const ports = ["--http-port", "0", "--nats-port", "0"];
  const child = startProgram(["up", "--data", dataDir, ...ports, "--json", ...args], wanted);
  let line = "";
  const { promise, resolve } = Promise.withResolvers<void>();
  child.stdout?.on("data", (chunk: Buffer) => {
    line += chunk.toString();
    if (line.includes("\n")) resolve();
  });
  const early = child.ended.then((ended) => {
    throw new Error(`mesh up ended: ${JSON.stringify(ended)}`);
  });
  early.catch(() => {});
  await Promise.race([promise, early]);
  return {
    ready: JSON.parse(line) as UpMesh["ready"],
    dataDir,
    process: child,
    mesh: (verb, { env, ...rest } = {}) =>
      runMesh(verb, { ...rest, env: { MESH_DATA_DIR: dataDir, ...env } }),
    async [Symbol.asyncDispose]() {
      child.kill("SIGTERM");
      await child.ended;
      if (wanted.dataDir === undefined) await rm(dataDir, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}

/** Command lines of living processes that contain the text. */
export async function processesWith(words: string): Promise<string[]> {
  const { stdout } = await promisify(execFile)("ps", ["-Ao", "stat=,pid=,args="], { maxBuffer: 16_000_000 });
  return stdout.split("\n").filter((line) => line.includes(words) && !line.trimStart().startsWith("Z"));
}

/** Waits until nothing with these words runs; returns what still does after the deadline. */
export async function untilGone(words: string, deadlineMs = 10_000): Promise<string[]> {
  const deadline = performance.now() + deadlineMs;
  for (;;) {
    const left = await processesWith(words);
    if (left.length === 0 || performance.now() > deadline) return left;
    await delay(100);
  }
}

/** A Node on PATH that is older than the project needs; null where there is none. */
export async function olderNode(): Promise<string | null> {
  for (const folder of (process.env.PATH ?? "").split(path.delimiter)) {
    const program = path.join(folder, "node");
    if (folder.includes("node_modules") || !(await exists(program))) continue;
    const { stdout } = await promisify(execFile)(program, ["--version"]);
    if (Number(/^v(\d+)/.exec(stdout)?.[1]) < 24) return program;
  }
  return null;
}

const exists = (file: string): Promise<boolean> =>
  access(file).then(
    () => true,
    () => false,
  );
