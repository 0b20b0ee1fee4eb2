// What the benchmarks stand on: a real server of their own, a connection to it, and services as processes.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { type Bus, connectBus } from "../shared/bus/connect.ts";
import { defaultCacheDir } from "../shared/nats-server/cache.ts";
import { launchNatsServer } from "../shared/nats-server/launch.ts";
import { locateNatsServer } from "../shared/nats-server/locate.ts";
import type { SyncInterval } from "../shared/nats-server/server-config.ts";

const ROOT = path.resolve(import.meta.dirname, "..");

export interface BenchMesh extends AsyncDisposable {
  readonly bus: Bus;
  /** Where its processes may keep what they have. */
  readonly folder: string;
  run(file: string, env?: NodeJS.ProcessEnv): ChildProcess;
}

export async function startBenchMesh(syncInterval: SyncInterval): Promise<BenchMesh> {
  await using stack = new AsyncDisposableStack();
  const folder = await mkdtemp(path.join(tmpdir(), "mesh-bench-"));
  stack.defer(() => rm(folder, { recursive: true, force: true }));
  const { path: program } = await locateNatsServer({
    env: process.env,
    cacheDir: defaultCacheDir(process.env),
  });
  const dataDir = path.join(folder, "nats");
  const server = stack.use(await launchNatsServer({ program, dataDir, port: 0, syncInterval }));
  const bus = stack.use(await connectBus({ url: server.url, name: "bench" }));
  const processes = stack.use(new AsyncDisposableStack());
  const owned = stack.move();
  return {
    bus,
    folder,
    run(file, env = {}) {
      const child = spawn(process.execPath, [path.join(ROOT, file)], {
        env: { ...process.env, NATS_URL: server.url, MESH_LOG_LEVEL: "warn", ...env },
        stdio: ["ignore", "inherit", "inherit"],
      });
      processes.defer(() => end(child));
      return child;
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** SIGTERM, and SIGKILL if that takes long. */
export async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill("SIGTERM");
  const force = setTimeout(() => child.kill("SIGKILL"), 5_000);
  await once(child, "exit");
  clearTimeout(force);
}

const CLOCK_TICKS = 100;

/** CPU time that the process has had. */
export async function cpuMs({ pid }: ChildProcess): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8");
  const [user = 0, system = 0] = stat.slice(stat.lastIndexOf(")")).split(" ").slice(12, 14).map(Number);
  return ((user + system) * 1_000) / CLOCK_TICKS;
}
