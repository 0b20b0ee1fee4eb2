// Measures dispatch against its floor, in one run with the same server and client, for both ways of syncing:
// (a) one JetStream publish → consumer → core reply; (b) the mesh, idle: submit → host begins, submit → done
// seen; (c) a closed loop with 100 outstanding. Prints one JSON document; times in ms, rates per second.
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { jetstream, jetstreamManager, StorageType } from "@nats-io/jetstream";
import { Command } from "commander";
import { connectBus, type Bus } from "../shared/bus/connect.ts";
import { followFacts } from "../shared/bus/follow.ts";
import { submitTask } from "../shared/bus/submit.ts";
import { askApi } from "../shared/bus/ask.ts";
import type { DeployRequest } from "../shared/contracts/task.ts";
import { defaultCacheDir } from "../shared/nats-server/cache.ts";
import { launchNatsServer } from "../shared/nats-server/launch.ts";
import { locateNatsServer } from "../shared/nats-server/locate.ts";

const ROOT = path.resolve(import.meta.dirname, "..");
const OUTSTANDING = 100;
const SLOTS = 50;

const options = new Command()
  .option("--idle <n>", "tasks one after the other", "300")
  .option("--loop <n>", "tasks in the closed loop", "10000")
  .option("--sync <modes>", "sync intervals, with commas between", "2m,always")
  .parse()
  .opts<{ idle: string; loop: string; sync: string }>();

const request = (number: number): DeployRequest => ({
  type: "pr_deployment",
  repository: "bench/noop",
  branch: "main",
  sha: number.toString(16).padStart(40, "0"),
  cloneUrl: "https://bench.invalid/noop.git",
  resources: { memoryBytes: 1 },
});

const rows = [];
for (const sync of options.sync.split(",")) rows.push(await measure(sync));
process.stdout.write(`${JSON.stringify({ idle: Number(options.idle), loop: Number(options.loop), rows }, null, 2)}\n`);

async function measure(syncInterval: string) {
  const folder = await mkdtemp(path.join(tmpdir(), "mesh-bench-"));
  await using stack = new AsyncDisposableStack();
  stack.defer(() => rm(folder, { recursive: true, force: true }));
  const { path: program } = await locateNatsServer({ env: process.env, cacheDir: defaultCacheDir(process.env) });
  const server = stack.use(
    await launchNatsServer({ program, dataDir: path.join(folder, "nats"), port: 0, syncInterval: syncInterval as never }),
  );
  const bus = stack.use(await connectBus({ url: server.url, name: "bench" }));
  const run = (file: string, env: NodeJS.ProcessEnv = {}) => {
    const child = spawn(process.execPath, [path.join(ROOT, file)], {
      env: { ...process.env, NATS_URL: server.url, MESH_LOG_LEVEL: "warn", ...env },
      stdio: ["ignore", "inherit", "inherit"],
    });
    stack.defer(() => stop(child));
  };
  const floor = await measureFloor(bus, run);
  run("services/scheduler/main.ts");
  run("services/status-tracker/main.ts");
  run("bench/noop-host.ts", {
    MESH_HOST_ID: "bench-host",
    MESH_HOST_SLOTS: String(SLOTS),
    MESH_DATA_DIR: path.join(folder, "host"),
  });
  await untilOnline(bus);
  const mesh = await measureMesh(bus);
  return {
    syncInterval,
    floor,
    mesh,
    ratios: {
      starts: round(mesh.startsMs.p50 / floor.replyMs.p50),
      done: round(mesh.doneMs.p50 / floor.replyMs.p50),
      loop: round(mesh.loopPerSecond / floor.loopPerSecond),
    },
  };
}

async function measureFloor(bus: Bus, run: (file: string) => void) {
  const manager = await jetstreamManager(bus.connection);
  await manager.streams.add({ name: "FLOOR", subjects: ["floor.request.*"], storage: StorageType.File });
  const waiting = new Map<string, () => void>();
  bus.connection.subscribe("floor.reply.*", {
    callback: (_, message) => waiting.get(message.subject.split(".").at(-1) ?? "")?.(),
  });
  const ready = bus.connection.subscribe("floor.ready", { max: 1 });
  run("bench/floor-worker.ts");
  for await (const _ of ready) break;
  const js = jetstream(bus.connection);
  const payload = JSON.stringify(request(0));
  const once = async (id: string) => {
    const { promise, resolve } = Promise.withResolvers<void>();
    waiting.set(id, resolve);
    await Promise.all([js.publish(`floor.request.${id}`, payload), promise]);
    waiting.delete(id);
  };
  await closedLoop(500, (number) => once(`w${number}`));
  const replies: number[] = [];
  for (let number = 0; number < Number(options.idle); number++) {
    const sentAt = performance.now();
    const { promise, resolve } = Promise.withResolvers<void>();
    waiting.set(`i${number}`, () => {
      replies.push(performance.now() - sentAt);
      resolve();
    });
    await Promise.all([js.publish(`floor.request.i${number}`, payload), promise]);
  }
  const perSecond = await closedLoop(Number(options.loop), (number) => once(`l${number}`));
  return { replyMs: quantiles(replies), loopPerSecond: Math.round(perSecond) };
}

async function measureMesh(bus: Bus) {
  const started = new Map<string, () => void>();
  const done = new Map<string, () => void>();
  bus.connection.subscribe("bench.started.*", {
    callback: (_, message) => started.get(message.subject.split(".").at(-1) ?? "")?.(),
  });
  await using following = await followFacts(bus, { from: "new" }, (fact) => {
    if (fact.kind === "succeeded") done.get(fact.taskId)?.();
    else if (["failed", "rejected", "cancelled"].includes(fact.kind)) throw new Error(`${fact.taskId}: ${fact.kind}`);
  });
  await following.caughtUp;
  const startsMs: number[] = [];
  const doneMs: number[] = [];
  const task = async (taskId: string, number: number, keep: boolean) => {
    const begins = Promise.withResolvers<void>();
    const ends = Promise.withResolvers<void>();
    const sentAt = performance.now();
    started.set(taskId, () => {
      if (keep) startsMs.push(performance.now() - sentAt);
      begins.resolve();
    });
    done.set(taskId, () => {
      if (keep) doneMs.push(performance.now() - sentAt);
      ends.resolve();
    });
    const submitted = await submitTask(bus, { ...request(number), taskId });
    if (!submitted.ok) throw new Error(submitted.error.message);
    await Promise.all([begins.promise, ends.promise]);
    started.delete(taskId);
    done.delete(taskId);
  };
  await closedLoop(1_000, (number) => task(`w${number}`, number, false));
  for (let number = 0; number < Number(options.idle); number++) await task(`i${number}`, number, true);
  const perSecond = await closedLoop(Number(options.loop), (number) => task(`l${number}`, number, false));
  return { startsMs: quantiles(startsMs), doneMs: quantiles(doneMs), loopPerSecond: Math.round(perSecond) };
}

/** Runs `total` with a fixed number under way; the rate. */
async function closedLoop(total: number, one: (number: number) => Promise<void>): Promise<number> {
  const beganMs = performance.now();
  let next = 0;
  await Promise.all(
    Array.from({ length: OUTSTANDING }, async () => {
      while (next < total) await one(next++);
    }),
  );
  return total / ((performance.now() - beganMs) / 1_000);
}

async function untilOnline(bus: Bus): Promise<void> {
  const deadline = performance.now() + 30_000;
  while (performance.now() < deadline) {
    const hosts = await askApi(bus, "hosts", {}, 1_000);
    if (hosts.ok && hosts.value.data.some(({ online }) => online)) return;
    await new Promise((later) => setTimeout(later, 100));
  }
  throw new Error("the benchmark's host did not come online");
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill("SIGTERM");
  const force = setTimeout(() => child.kill("SIGKILL"), 5_000);
  await once(child, "exit");
  clearTimeout(force);
}

function quantiles(values: number[]) {
  const sorted = values.toSorted((one, other) => one - other);
  const at = (share: number) => round(sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0);
  return { p50: at(0.5), p99: at(0.99) };
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}
