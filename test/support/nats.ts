// A real nats-server of a test's own, on a free port and in a temporary folder that goes with it. Tests must never
// share one.
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline/promises";
import { inject, onTestFinished, vi } from "vitest";
import { z } from "zod";
import { type LaunchOptions, launchNatsServer, type NatsServer } from "../../shared/nats-server/launch.ts";
import { processIdentity } from "../../shared/process/process-identity.ts";

/** Use it with `await using`. A folder that the caller names is the caller's to remove. */
export async function startNats(
  overrides: Partial<LaunchOptions> = {},
): Promise<NatsServer & { readonly dataDir: string }> {
  const dataDir = overrides.dataDir ?? (await mkdtemp(join(tmpdir(), "agent-mesh-nats-")));
  const removeOwn = async () => {
    if (overrides.dataDir === undefined) await rm(dataDir, { recursive: true, force: true });
  };
  try {
    const program = inject("natsServerProgram");
    const server = await launchNatsServer({ program, port: 0, syncInterval: "2m", ...overrides, dataDir });
    const stop = async () => {
      await server[Symbol.asyncDispose]();
      await removeOwn();
    };
    return { ...server, dataDir, [Symbol.asyncDispose]: stop };
  } catch (error) {
    await removeOwn();
    throw error;
  }
}

export interface MortalNats extends AsyncDisposable {
  url: string;
  port: number;
  pid: () => number;
  /** As `kill -9`; resolves when it is gone. */
  kill: () => Promise<void>;
  /** Starts it again on the same port, with its data or with none. */
  start: (wanted?: { empty?: boolean }) => Promise<void>;
}

/** A server that a test kills and starts again: clients keep their URL. */
export async function startMortalNats(
  options: Partial<Pick<LaunchOptions, "syncInterval">> = {},
): Promise<MortalNats> {
  const folder = await mkdtemp(join(tmpdir(), "agent-mesh-nats-"));
  let lives = 0;
  let dataDir = join(folder, `life-${lives}`);
  let server = await startNats({ ...options, dataDir });
  const { url, port } = server;
  return {
    url,
    port,
    pid: () => server.pid,
    async kill() {
      process.kill(server.pid, "SIGKILL");
      await server.exited;
    },
    async start({ empty = false } = {}) {
      if (empty) dataDir = join(folder, `life-${++lives}`);
      server = await startNats({ ...options, dataDir, port });
    },
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** A server launched by a process of its own, which the test may kill. Both have ended when the test has. */
export async function launchNatsInChild(dataDir: string): Promise<{ child: ChildProcess; pid: number }> {
  const script = join(import.meta.dirname, "nats-launcher.ts");
  const args = [script, inject("natsServerProgram"), dataDir];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
  onTestFinished(() => void child.kill("SIGKILL"));
  const { value } = await createInterface({ input: child.stdout })[Symbol.asyncIterator]().next();
  const { pid } = z.object({ pid: z.number() }).parse(JSON.parse(String(value)));
  // Its folder goes next, and must not be written to any more by then.
  onTestFinished(async () => {
    child.kill("SIGKILL");
    await untilGone(pid);
  });
  return { child, pid };
}

export async function isAlive(pid: number): Promise<boolean> {
  return (await processIdentity(pid)) !== undefined;
}

export async function untilGone(pid: number): Promise<void> {
  await vi.waitUntil(async () => !(await isAlive(pid)), { timeout: 20_000, interval: 20 });
}
