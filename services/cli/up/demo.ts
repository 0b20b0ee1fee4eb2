// `mesh demo`: the main job from nothing to its result on this machine, as an orchestrator would do it. It leaves
// nothing running and nothing on disk, and any failure shows and is not exit 0.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { Command } from "commander";
import type { MeshClient } from "../../../shared/client/mesh-client.ts";
import type { DeployRequest } from "../../../shared/contracts/deploy-request.ts";
import type { TaskView } from "../../../shared/contracts/task.ts";
import { allowForStop, interruption } from "../interruption.ts";
import { Failure, valueOf } from "../outcome.ts";
import type { Progress } from "../terminal/progress.ts";
import type { DemoRepository } from "./demo-repository.ts";
import type { Mesh } from "./mesh-in-one.ts";
import { orSay } from "./up.ts";

const HOSTS = 3;
const STOP_MS = 25_000;
const OTHER_MESH = new Set([
  "NATS_URL",
  "NATS_CA_FILE",
  "MESH_URL",
  "MESH_DATA_DIR",
  "MESH_CONFIG",
  "MESH_HOST_LABELS",
]);

export const demoCommand = (): Command =>
  new Command("demo")
    .description("the main job on this machine: a mesh of three local hosts mends a pull request")
    .option("--keep", "leave the mesh up afterwards, until Ctrl-C")
    .action(({ keep }: { keep?: boolean }) => demo(keep ?? false));

async function demo(keep: boolean): Promise<void> {
  allowForStop(STOP_MS);
  const { createProgress } = await import("../terminal/progress.ts");
  const { meshLogTail, openMeshLog } = await import("./mesh-log.ts");
  const { startMesh } = await import("./mesh-in-one.ts");
  const folder = await mkdtemp(path.join(tmpdir(), "mesh-demo-"));
  const dataDir = path.join(folder, "data");
  using progress = createProgress();
  const began = performance.now();
  try {
    // What the caller's environment says about another mesh is not meant for this one.
    const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !OTHER_MESH.has(name)));
    const log = await orSay(async () => openMeshLog(dataDir, env, false));
    const onProgress = (text: string) => (progress.live ? progress.draw(text) : progress.say(text));
    const { makeDemoRepository } = await import("./demo-repository.ts");
    const repository = await makeDemoRepository(folder);
    const ports = { httpPort: 0, natsPort: 0 };
    await using mesh = await orSay(() =>
      startMesh({ dataDir, hosts: HOSTS, slots: 2, ...ports, log, env, onProgress, signal: interruption }),
    );
    const upMs = performance.now() - began;
    // What is printed next must not land behind the line that is drawn.
    progress[Symbol.dispose]();
    const task = await Promise.race([mainJob(mesh, repository, progress), diedBus(mesh)]);
    await tellResult(mesh, task, upMs);
    if (task.state !== "succeeded") throw new Failure("the task did not succeed");
    if (keep) await untilStopped(mesh, dataDir);
  } catch (error) {
    if (!interruption.aborted) {
      progress[Symbol.dispose]();
      const said = await meshLogTail(dataDir);
      if (said !== "") process.stderr.write(`The last of the mesh's log:\n${said}\n`);
    }
    throw error;
  } finally {
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** Submits the pull request over NATS, watches it to its end. */
async function mainJob(mesh: Mesh, repository: DemoRepository, progress: Progress): Promise<TaskView> {
  const { DEMO_CHECK, DEMO_COMMAND } = await import("./demo-repository.ts");
  const { connectNatsClient } = await import("../../../shared/client/nats-client.ts");
  const { watchTask } = await import("../tasks/watch.ts");
  process.stdout.write(`A mesh of ${HOSTS} hosts is up: ${mesh.httpUrl}\n`);
  process.stdout.write(
    `A pull request: acme/shop#7, ${repository.branch} @ ${repository.sha.slice(0, 12)}\n`,
  );
  const request: DeployRequest = {
    type: "pr_deployment",
    repository: "acme/shop",
    ...repository,
    run: { command: DEMO_COMMAND },
    checks: [DEMO_CHECK],
    timeoutMs: 120_000,
  };
  await using client: MeshClient = await connectNatsClient({ url: mesh.natsUrl, name: "demo" });
  const { taskId } = valueOf(await client.submit(request));
  process.stdout.write(`Submitted as task ${taskId}\n`);
  const { task, tail } = await watchTask(client, taskId, { progress, signal: interruption });
  if (task.state !== "succeeded")
    process.stderr.write(`The last of the task's output:\n${tail.join("\n")}\n`);
  return task;
}

async function tellResult(mesh: Mesh, task: TaskView, upMs: number): Promise<void> {
  const { httpClient } = await import("../../../shared/client/http-client.ts");
  const { explanationText } = await import("../tasks/explain.ts");
  const { taskText } = await import("../tasks/task-text.ts");
  const { formatDuration } = await import("../terminal/quantities.ts");
  await using client = httpClient(mesh.httpUrl);
  process.stdout.write(`\n${taskText(task)}\nWhy there?\n`);
  process.stdout.write(await explanationText(valueOf(await client.explain(task.taskId))));
  const patch = task.result?.artifacts.find(({ name }) => name === "patch");
  if (patch !== undefined) {
    const response = await fetch(`${mesh.httpUrl}/v1/tasks/${task.taskId}/artifacts/${patch.name}`);
    if (!response.ok) throw new Failure(`the patch cannot be had: the gateway answered ${response.status}`);
    process.stdout.write(`\nThe patch, ${patch.size} bytes: ${patchStat(await response.text())}\n`);
  }
  process.stdout.write(`\nThe mesh took ${formatDuration(upMs)} to start.\n`);
}

/** As `git diff --shortstat` counts. */
function patchStat(patch: string): string {
  const lines = patch.split("\n");
  const files = lines.filter((line) => line.startsWith("diff --git ")).length;
  const added = lines.filter((line) => line.startsWith("+") && !line.startsWith("+++ ")).length;
  const removed = lines.filter((line) => line.startsWith("-") && !line.startsWith("--- ")).length;
  return `${files} file${files === 1 ? "" : "s"} changed, ${added} added, ${removed} removed`;
}

async function diedBus(mesh: Mesh): Promise<never> {
  throw new Failure(await mesh.busDied);
}

async function untilStopped(mesh: Mesh, dataDir: string): Promise<void> {
  process.stdout.write(
    `\nThe mesh stays up:\n  HTTP  ${mesh.httpUrl}\n  NATS  ${mesh.natsUrl}\n  data  ${dataDir}\n` +
      `Try, in another terminal: mesh tasks --url ${mesh.httpUrl}\n` +
      `Ctrl-C (or kill ${process.pid}) stops it and removes its folder.\n`,
  );
  const stopped = new Promise<null>((resolve) => interruption.addEventListener("abort", () => resolve(null)));
  if (interruption.aborted) return;
  await Promise.race([stopped, diedBus(mesh)]);
}
