// Measures dispatch against its floor, in one run with the same server and client, for both ways of syncing.
// The floor is one hop: JetStream publish → consumer → core reply (starts), and its `done` onto the stream; the
// mesh is real but for an executor that does nothing. Each is measured idle, one task after the other, and in a
// closed loop with 100 outstanding. Prints one JSON document; times in ms, rates per second.
import path from "node:path";
import { jetstream, jetstreamManager, StorageType } from "@nats-io/jetstream";
import { Command } from "commander";
import { askApi } from "../shared/bus/ask.ts";
import type { Bus } from "../shared/bus/connect.ts";
import { followFacts } from "../shared/bus/follow.ts";
import { submitTask } from "../shared/bus/submit.ts";
import type { DeployRequest } from "../shared/contracts/deploy-request.ts";
import { type FactKind, factSubject } from "../shared/contracts/fact.ts";
import type { SyncInterval } from "../shared/nats-server/server-config.ts";
import { startBenchMesh } from "./bench-mesh.ts";

const OUTSTANDING = 100;
const SLOTS = 50;
const ENDS: FactKind[] = ["succeeded", "failed", "rejected", "cancelled"];

const options = new Command()
  .option("--idle <n>", "tasks one after the other", "300")
  .option("--loop <n>", "tasks in the closed loop", "20000")
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
for (const sync of options.sync.split(",")) rows.push(await measure(sync as SyncInterval));
process.stdout.write(
  `${JSON.stringify({ idle: Number(options.idle), loop: Number(options.loop), rows }, null, 2)}\n`,
);

async function measure(syncInterval: SyncInterval) {
  await using bench = await startBenchMesh(syncInterval);
  const { bus, run } = bench;
  const floor = await measureFloor(bus, run);
  run("services/scheduler/main.ts");
  run("services/status-tracker/main.ts");
  run("bench/noop-host.ts", {
    MESH_HOST_ID: "bench-host",
    MESH_HOST_SLOTS: String(SLOTS),
    MESH_DATA_DIR: path.join(bench.folder, "host"),
  });
  await untilOnline(bus);
  const mesh = await measureMesh(bus);
  return {
    syncInterval,
    floor,
    mesh,
    ratios: {
      starts: round(mesh.startsMs.p50 / floor.startsMs.p50),
      done: round(mesh.doneMs.p50 / floor.doneMs.p50),
      loop: round(mesh.loopPerSecond / floor.loopPerSecond),
    },
  };
}

async function measureFloor(bus: Bus, run: (file: string) => unknown) {
  const manager = await jetstreamManager(bus.connection);
  await manager.streams.add({
    name: "FLOOR",
    subjects: ["floor.request.*", "floor.done.*"],
    storage: StorageType.File,
  });
  const js = jetstream(bus.connection);
  const marks = watchMarks();
  const last = (subject: string) => subject.split(".").at(-1) ?? "";
  bus.connection.subscribe("floor.reply.*", { callback: (_, message) => marks.began(last(message.subject)) });
  const consumer = await js.consumers.get("FLOOR", { filter_subjects: "floor.done.*" });
  const seen = await consumer.consume({
    max_messages: 1_000,
    callback: (message) => marks.ended(last(message.subject)),
  });
  const ready = bus.connection.subscribe("floor.ready", { max: 1 });
  run("bench/floor-worker.ts");
  await ready[Symbol.asyncIterator]().next();
  const payload = JSON.stringify(request(0));
  const measured = await measureLoops(
    (id, _, keep) => marks.around(id, keep, () => js.publish(`floor.request.${id}`, payload)),
    marks,
  );
  await seen.close();
  await manager.streams.delete("FLOOR");
  return measured;
}

async function measureMesh(bus: Bus) {
  const marks = watchMarks();
  bus.connection.subscribe("bench.started.*", {
    callback: (_, message) => marks.began(message.subject.split(".").at(-1) ?? ""),
  });
  const subjects = ENDS.map((kind) => factSubject.wildcard({ kind }));
  await using following = await followFacts(bus, { from: "new", subjects }, (fact) => {
    if (fact.kind !== "succeeded") throw new Error(`${fact.taskId}: ${fact.kind}`);
    marks.ended(fact.taskId);
  });
  await following.caughtUp;
  const submit = async (taskId: string, number: number) => {
    const submitted = await submitTask(bus, { ...request(number), taskId });
    if (!submitted.ok) throw new Error(submitted.error.message);
  };
  return await measureLoops((id, number, keep) => marks.around(id, keep, () => submit(id, number)), marks);
}

/** Warms up, then one after the other for the times, then the closed loop for the rate. */
async function measureLoops(one: (id: string, number: number, keep: boolean) => Promise<void>, marks: Marks) {
  await closedLoop(2_000, (number) => one(`w${number}`, number, false));
  for (let number = 0; number < Number(options.idle); number++) await one(`i${number}`, number, true);
  const perSecond = await closedLoop(Number(options.loop), (number) => one(`l${number}`, number, false));
  return {
    startsMs: quantiles(marks.startsMs),
    doneMs: quantiles(marks.doneMs),
    loopPerSecond: Math.round(perSecond),
  };
}

type Marks = ReturnType<typeof watchMarks>;

/** When what was sent began, and was done, by this process's clock. */
function watchMarks() {
  const open = new Map<string, { began: PromiseWithResolvers<void>; ended: PromiseWithResolvers<void> }>();
  const startsMs: number[] = [];
  const doneMs: number[] = [];
  return {
    startsMs,
    doneMs,
    began: (id: string) => open.get(id)?.began.resolve(),
    ended: (id: string) => open.get(id)?.ended.resolve(),
    async around(id: string, keep: boolean, send: () => Promise<unknown>): Promise<void> {
      const began = Promise.withResolvers<void>();
      const ended = Promise.withResolvers<void>();
      open.set(id, { began, ended });
      const sentAt = performance.now();
      if (keep) {
        void began.promise.then(() => startsMs.push(performance.now() - sentAt));
        void ended.promise.then(() => doneMs.push(performance.now() - sentAt));
      }
      await Promise.all([send(), began.promise, ended.promise]);
      open.delete(id);
    },
  };
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

function quantiles(values: number[]) {
  const sorted = values.toSorted((one, other) => one - other);
  const at = (share: number) =>
    round(sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0);
  return { p50: at(0.5), p99: at(0.99) };
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}
