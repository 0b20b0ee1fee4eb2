// `mesh backup` and `mesh restore` as processes on a real bus: what is copied while facts keep coming is the same log
// again, sequences included, and nothing that is not whole is ever restored.
import { cp, mkdtemp, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { jetstreamManager } from "@nats-io/jetstream";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { auditLog } from "../../services/cli/backup/log-audit.ts";
import { appendFact } from "../../shared/bus/append.ts";
import { type Bus, connectBus } from "../../shared/bus/connect.ts";
import { provision } from "../../shared/bus/provision.ts";
import { factsOfTask } from "../../shared/bus/read.ts";
import { submitTask } from "../../shared/bus/submit.ts";
import { artifactSubject } from "../../shared/contracts/artifact.ts";
import type { NewFact } from "../../shared/contracts/fact.ts";
import { answer } from "../../shared/contracts/failure.ts";
import { openBus } from "../support/bus.ts";
import { request } from "../support/facts.ts";
import { runMesh } from "../support/mesh-program.ts";
import { startNats } from "../support/nats.ts";

const TASKS = 40;
const NONCE = "n1";
/** So that a restore need not wait long. */
const env = { MESH_LEASE_MS: "500" };

let stack: AsyncDisposableStack;
let folder: string;
let backup: string;
let bus: Bus;
let said: { log: Awaited<ReturnType<typeof auditLog>> };
/** Facts of a task that was on its way when the backup was taken. */
let midway: Awaited<ReturnType<typeof factsOfTask>>;

beforeAll(async () => {
  stack = new AsyncDisposableStack();
  folder = await mkdtemp(path.join(tmpdir(), "mesh-backup-"));
  stack.defer(() => rm(folder, { recursive: true, force: true }));
  backup = path.join(folder, "backup");
  const nats = stack.use(await startNats());
  bus = stack.use(await openBus(nats.url));
  for (let number = 0; number < TASKS; number++) await runTask(`t${number}`, number % 2 === 0);
  const stop = new AbortController();
  const writing = keepWriting(stop.signal);
  const ended = await runMesh(["backup", backup, "--json", "--url", nats.url], { env });
  stop.abort();
  await writing;
  if (ended.code !== 0) throw new Error(ended.stderr);
  said = JSON.parse(ended.stdout);
  midway = await factsOfTask(bus, "t1");
});
afterAll(() => stack.disposeAsync());

/** As a host would say it; an end with an artifact, if it comes to one. */
async function runTask(taskId: string, ends: boolean): Promise<void> {
  const submitted = await submitTask(bus, request({ taskId }));
  if (!submitted.ok) throw new Error(submitted.error.message);
  const ofAttempt = { attempt: 1, nonce: NONCE };
  const started = await say({
    taskId,
    kind: "started",
    speaker: "h1",
    body: { after: submitted.value.sequence, ...ofAttempt, installation: "i", boot: 1, counter: 1 },
  });
  if (!ends) return;
  await bus.js.publish(artifactSubject.build({ taskId, attempt: "1", hostId: "h1", name: "patch" }), "x");
  const artifacts = [{ name: "patch", size: 1, sha256: "a".repeat(64), chunks: 1 }];
  const result = { exitCode: 0, durationMs: 1, phases: {}, checks: [], artifacts };
  await say({
    taskId,
    kind: "succeeded",
    speaker: "h1",
    body: { after: started, ...ofAttempt, result },
  });
}

async function say(fact: NewFact, on = bus): Promise<number> {
  const appended = await appendFact(on, fact, { deadlineMs: 10_000, truth: async () => answer(null) });
  if (appended.outcome !== "appended") throw new Error(appended.outcome);
  return appended.sequence;
}

async function keepWriting(signal: AbortSignal): Promise<void> {
  for (let number = 0; !signal.aborted; number++) await runTask(`w${number}`, true);
}

describe("a backup that was taken while facts kept coming", () => {
  it("tells what it holds, and misses no artifact that a result names", () => {
    const { log } = said;
    expect(log.tasks).toBeGreaterThanOrEqual(TASKS);
    expect(log.succeeded).toBeGreaterThanOrEqual(TASKS / 2);
    expect(log.unfinished).toBeGreaterThanOrEqual(TASKS / 2);
    expect(log.artifacts).toEqual({ kept: log.succeeded, agedOut: 0, missing: [] });
  });

  it("is restored as the same log, sequences included, and can be provisioned and written on", async () => {
    await using nats = await startNats();
    const restored = await runMesh(["restore", backup, "--url", nats.url], { env });
    expect(restored).toMatchObject({ code: 0 });
    expect(restored.stdout).toContain(`${said.log.tasks} tasks: ${said.log.unfinished} unfinished`);
    await using there = await openBus(nats.url);
    expect(await auditLog(there, said.log.sequence)).toEqual(said.log);
    expect(await factsOfTask(there, "t1")).toEqual(midway);
    await say(
      {
        taskId: "t1",
        kind: "resumed",
        speaker: "h1",
        body: { after: midway.at(-1)?.sequence ?? 0, attempt: 1, nonce: NONCE },
      },
      there,
    );
  });

  it("lets nobody speak who has heard more than it holds", async () => {
    await using nats = await startNats();
    expect(await runMesh(["restore", backup, "--url", nats.url], { env })).toMatchObject({ code: 0 });
    await using there = await openBus(nats.url);
    const after = said.log.sequence + 1_000;
    const late = say(
      {
        taskId: "t1",
        kind: "faulted",
        speaker: "h1",
        body: { after, attempt: 1, nonce: NONCE, failure: { category: "agent", message: "late" } },
      },
      there,
    );
    await expect(late).rejects.toThrow("refused");
  });

  it("is restored into the data folder of a mesh that is not running", async () => {
    const dataDir = path.join(folder, "data");
    const restored = await runMesh(["restore", backup, "--data", dataDir], { env });
    expect(restored).toMatchObject({ code: 0 });
    const again = await runMesh(["restore", backup, "--data", dataDir], { env });
    expect(again).toMatchObject({ code: 1, stderr: expect.stringContaining("this bus is not empty: TASKS") });
  });
});

describe("mesh restore", () => {
  let damaged: string;
  beforeEach(async () => {
    damaged = await mkdtemp(path.join(folder, "damaged-"));
    await cp(backup, damaged, { recursive: true });
  });

  async function refusal(): Promise<string> {
    await using nats = await startNats();
    const { code, stderr } = await runMesh(["restore", damaged, "--quiet", "--url", nats.url], { env });
    await using there = await connectBus({ url: nats.url, name: "test" });
    await provision(there);
    expect((await auditLog(there, Number.MAX_SAFE_INTEGER)).facts).toBe(0);
    expect([1, 2]).toContain(code);
    return stderr;
  }

  it("refuses a file that was cut", async () => {
    await truncate(path.join(damaged, "TASKS.snapshot"), 100);
    expect(await refusal()).toContain("TASKS.snapshot has 100 bytes, and had");
  });

  it("refuses a file in which one byte was changed", async () => {
    const file = path.join(damaged, "ARTIFACTS.snapshot");
    const bytes = await readFile(file);
    bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1;
    await writeFile(file, bytes);
    expect(await refusal()).toContain("ARTIFACTS.snapshot is not what its manifest says");
  });

  it("refuses a manifest that was changed", async () => {
    const file = path.join(damaged, "manifest.json");
    await writeFile(file, (await readFile(file, "utf8")).replace(/"tasks":\d+/, '"tasks":1'));
    expect(await refusal()).toContain("manifest.json does not match its own SHA-256");
  });

  it("refuses one that lacks a stream's file", async () => {
    await rm(path.join(damaged, "LOGS.snapshot"));
    expect(await refusal()).toContain("LOGS.snapshot is missing");
  });

  it("refuses one that was broken off, and what is no backup at all", async () => {
    await rm(path.join(damaged, "manifest.json"));
    expect(await refusal()).toContain("is no backup, or one that was broken off");
    damaged = path.join(folder, "nowhere");
    expect(await refusal()).toContain("is no backup");
    damaged = path.resolve("package.json");
    expect(await refusal()).toContain("is no backup");
  });

  it("refuses a log that has anything on it, and leaves it as it was", async () => {
    await using nats = await startNats();
    await using there = await openBus(nats.url);
    await submitTask(there, request({ taskId: "mine" }));
    const { code, stderr } = await runMesh(["restore", backup, "--url", nats.url], { env });
    expect({ code, stderr }).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("this bus is not empty: TASKS has got to 1"),
    });
    expect(await factsOfTask(there, "mine")).toHaveLength(1);
  });

  it("refuses a gateway's address, and --data beside a bus", async () => {
    const gateway = await runMesh(["restore", backup, "--url", "http://127.0.0.1:1"]);
    expect(gateway).toMatchObject({ code: 2, stderr: expect.stringContaining("expected the bus, nats://") });
    const both = await runMesh(["restore", backup, "--url", "nats://127.0.0.1:1", "--data", damaged]);
    expect(both).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("--data is for where no bus is named"),
    });
  });
});

describe("mesh backup", () => {
  it("refuses a folder that is there, and leaves it as it was", async () => {
    const before = await readdir(backup);
    const again = await runMesh(["backup", backup, "--url", `nats://${bus.connection.getServer()}`]);
    expect(again).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("is there already: name a new folder"),
    });
    expect(await readdir(backup)).toEqual(before);
  });

  it("leaves nothing of one that cannot be taken", async () => {
    await using nats = await startNats();
    const target = path.join(folder, "none");
    const ended = await runMesh(["backup", target, "--url", nats.url]);
    expect(ended).toMatchObject({ code: 1, stderr: expect.stringContaining("this bus has no log") });
    expect(await readdir(folder)).not.toContain("none");
  });

  it("exits 1 when a result names an artifact that is gone and is not old, and keeps what it has copied", async () => {
    const gone = artifactSubject.build({ taskId: "t4", attempt: "1", hostId: "h1", name: "patch" });
    const manager = await jetstreamManager(bus.connection);
    await manager.streams.purge("ARTIFACTS", { filter: gone });
    const target = path.join(folder, "lacking");
    const ended = await runMesh(["backup", target, "--url", `nats://${bus.connection.getServer()}`]);
    expect(ended).toMatchObject({
      code: 1,
      stderr: expect.stringContaining(
        `1 artifacts that results name are not on the bus, though they are young enough: ${gone}`,
      ),
    });
    expect(await readdir(target)).toContain("manifest.json");
  });

  it("needs the bus, not a gateway", async () => {
    const ended = await runMesh(["backup", path.join(folder, "http")], {
      env: { MESH_URL: "http://127.0.0.1:1" },
    });
    expect(ended).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("name it by NATS_URL, or --url nats://"),
    });
  });
});
