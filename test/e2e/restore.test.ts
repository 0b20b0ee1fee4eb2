// A mesh that loses its bus for good and is restored from a backup, while its hosts live on with what they run: every
// task of the backup ends once, and what hosts did in the life that is gone neither counts nor acts beside the new one.
import { createHash } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { askApi } from "../../shared/bus/ask.ts";
import type { Bus } from "../../shared/bus/connect.ts";
import { factsOfTask } from "../../shared/bus/read.ts";
import { submitTask } from "../../shared/bus/submit.ts";
import { isEnd } from "../../shared/lifecycle/table.ts";
import { openBus } from "../support/bus.ts";
import { smallRequest } from "../support/facts.ts";
import { runMesh, untilGone } from "../support/mesh-program.ts";
import { type MortalNats, startMortalNats } from "../support/nats.ts";
import { makeRepository, type Repository } from "../support/repository.ts";
import { startServiceProcesses } from "../support/service-processes.ts";

const DEADLINE = { timeout: 90_000, interval: 50 };
const HOSTS = ["host-1", "host-2"];
const SERVICES = ["scheduler", "status-tracker", "gateway"] as const;

let stack: AsyncDisposableStack;
let folder: string;
let nats: MortalNats;
let repository: Repository;
let env: NodeJS.ProcessEnv;
let left: string[];

beforeAll(async () => {
  stack = new AsyncDisposableStack();
  folder = await mkdtemp(path.join(tmpdir(), "mesh-restore-"));
  stack.defer(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }));
  stack.defer(async () => {
    left = await untilGone(folder);
  });
  repository = stack.use(makeRepository());
  nats = stack.use(await startMortalNats());
  env = { NATS_URL: nats.url, MESH_LEASE_MS: "3000", MESH_HTTP_PORT: "0" };
  const hosts = stack.use(await startServiceProcesses(folder, env));
  for (const hostId of HOSTS)
    hosts.start("host-agent", {
      MESH_HOST_ID: hostId,
      MESH_HOST_SLOTS: "2",
      MESH_DATA_DIR: path.join(folder, hostId),
      MESH_ALLOW_FILE_CLONES: "1",
    });
});
afterAll(async () => {
  await stack.disposeAsync();
  if (left.length > 0) throw new Error(`still there: ${left.join("\n")}`);
});

async function startServices() {
  const services = await startServiceProcesses(folder, env);
  for (const service of SERVICES) services.start(service);
  return services;
}

/** Acts for so long, each start of it under a name of its own, and leaves a patch. */
async function submit(bus: Bus, taskId: string, seconds: number): Promise<void> {
  const command = [
    "me=$(cat /proc/sys/kernel/random/uuid)",
    `n=0; while [ $n -lt ${seconds * 10} ]; do echo "$MESH_TASK_ID $me" >> "$WITNESS"; sleep 0.1; n=$((n+1)); done`,
    "echo done > done.txt",
  ].join("\n");
  const run = { command, env: { WITNESS: path.join(folder, "witness") } };
  const submitted = await submitTask(bus, smallRequest(repository, { taskId, run }));
  expect(submitted).toMatchObject({ ok: true });
}

const stateOf = async (bus: Bus, taskId: string) => {
  const task = await askApi(bus, "get", { taskId }, 1_000);
  return task.ok ? task.value.state : null;
};
const untilEnded = (bus: Bus, taskIds: string[]) =>
  vi.waitUntil(async () => {
    const states = await Promise.all(taskIds.map((taskId) => stateOf(bus, taskId)));
    return states.every((state) => state !== null && isEnd(state));
  }, DEADLINE);

it("ends every task of the backup once, and lets nothing of the life that is gone act beside it", async () => {
  let services = await startServices();
  const first = await openBus(nats.url);
  const ended = ["ended-1", "ended-2"];
  for (const taskId of ended) await submit(first, taskId, 0.5);
  await untilEnded(first, ended);
  // Twice what the hosts have slots for: some run when the backup is taken, and some begin after it.
  const unfinished = Array.from({ length: 8 }, (_, number) => `unfinished-${number}`);
  for (const taskId of unfinished) await submit(first, taskId, 8);
  await vi.waitUntil(async () => (await stateOf(first, "unfinished-0")) === "running", DEADLINE);
  const backup = path.join(folder, "backup");
  expect(await runMesh(["backup", backup], { env })).toMatchObject({ code: 0 });
  // The last of them begins only when the first have ended: what comes now is not in the backup.
  await vi.waitUntil(async () => (await stateOf(first, "unfinished-7")) === "running", DEADLINE);
  await submit(first, "forgotten", 1);
  const before = await factsOfTask(first, "ended-1");

  await first[Symbol.asyncDispose]();
  await services[Symbol.asyncDispose]();
  await nats.kill();
  await nats.start({ empty: true });
  const restored = await runMesh(["restore", backup], { env });
  expect(restored).toMatchObject({ code: 0 });
  expect(restored.stdout).toContain("  10 tasks: ");

  services = stack.use(await startServices());
  await using bus = await openBus(nats.url);
  await untilEnded(bus, unfinished);
  expect(await stateOf(bus, "forgotten")).toBeNull();
  expect(await factsOfTask(bus, "ended-1")).toEqual(before);
  for (const taskId of unfinished) {
    const kinds = (await factsOfTask(bus, taskId)).map(({ kind }) => kind);
    expect(kinds.filter((kind) => kind === "succeeded")).toHaveLength(1);
    expect(kinds.at(-1)).toBe("succeeded");
  }
  expect(await interleaved(unfinished)).toEqual([]);
  for (const taskId of ["ended-1", "unfinished-0"]) expect(await download(bus, taskId)).toBe("as it was");
});

/** Starts of a task that acted again after a later start of it had acted. */
async function interleaved(taskIds: string[]): Promise<string[]> {
  const lines = (await readFile(path.join(folder, "witness"), "utf8")).trim().split("\n");
  return taskIds.flatMap((taskId) => {
    const actors = lines.filter((line) => line.startsWith(`${taskId} `));
    const turns = actors.filter((actor, index) => actor !== actors[index - 1]);
    return turns.length === new Set(turns).size ? [] : [turns.join(", ")];
  });
}

/** The patch as a reader has it, held against the manifest of the fact that ended the task. */
async function download(bus: Bus, taskId: string): Promise<string> {
  const gateways = await readFile(path.join(folder, "services.log"), "utf8");
  const url = [...gateways.matchAll(/http:\/\/127\.0\.0\.1:\d+/g)].at(-1)?.[0];
  const response = await fetch(`${url}/v1/tasks/${taskId}/artifacts/patch`);
  const bytes = Buffer.from(await response.arrayBuffer());
  const task = await askApi(bus, "get", { taskId });
  const patch = task.ok ? task.value.result?.artifacts.find(({ name }) => name === "patch") : undefined;
  const sha256 = createHash("sha256").update(bytes).digest("hex");
  return sha256 === patch?.sha256 && bytes.includes("done.txt")
    ? "as it was"
    : `${response.status} ${bytes.toString()}`;
}
