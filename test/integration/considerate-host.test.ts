// Real host agents as guests on somebody's machine: they begin nothing while its owner needs it, say why, and keep it
// awake only for their work.
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { pino } from "pino";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { startCondition } from "../../services/host-agent/condition/condition.ts";
import type { PlaceReading } from "../../services/host-agent/condition/readings.ts";
import { readPause, readPauses, removePause, writePause } from "../../services/host-agent/owner/pause.ts";
import { readEnvironment } from "../../shared/config/environment.ts";
import { startSilentServer } from "../support/git-server.ts";
import { DEADLINE, type Host, type HostMesh, startHostMesh } from "../support/host.ts";
import { runMesh } from "../support/mesh-program.ts";

const HOUR_MS = 3_600_000;
const WITHHELD = { ok: true, value: { outcome: "refused", reason: "withheld" } };

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
});
function ownFolder(): string {
  const folder = mkdtempSync(path.join(tmpdir(), "mesh-considerate-"));
  folders.push(folder);
  return folder;
}

/** A program `systemd-inhibit`, first on the host's PATH, that holds nothing; the id of each process that it was. */
function inhibitor(folder: string): { env: NodeJS.ProcessEnv; held: () => number[] } {
  const bin = path.join(folder, "bin");
  const log = path.join(folder, "inhibited");
  mkdirSync(bin);
  const script = `#!/bin/sh\necho "$$ $1" >> ${log}\nfor command; do :; done\nexec "$command"\n`;
  writeFileSync(path.join(bin, "systemd-inhibit"), script, { mode: 0o755 });
  const lines = () => (existsSync(log) ? readFileSync(log, "utf8").trim().split("\n") : []);
  return {
    env: { PATH: `${bin}:${process.env.PATH}` },
    held: () => lines().flatMap((line) => (line.endsWith(" --what=idle") ? [Number.parseInt(line, 10)] : [])),
  };
}

const isAlive = (pid: number | undefined): boolean => {
  try {
    return process.kill(pid ?? Number.NaN, 0);
  } catch {
    return false;
  }
};

describe("a host agent on somebody's machine", () => {
  let mesh: HostMesh;
  let host: Host;
  let awake: ReturnType<typeof inhibitor>;
  beforeAll(async () => {
    mesh = await startHostMesh();
    awake = inhibitor(mesh.folder);
    host = await mesh.host("h1", awake.env);
  });
  afterAll(() => mesh[Symbol.asyncDispose]());

  const untilWithheld = (hostId: string, why: string | null) =>
    vi.waitUntil(async () => {
      const said = await mesh.heartbeat(hostId);
      const matches = why === null ? said?.withheld === null : said?.withheld?.why.includes(why);
      return matches === true ? said : null;
    }, DEADLINE);
  const go = (name: string) => `until [ -e ${mesh.folder}/${name} ]; do sleep 0.05; done`;

  it("begins nothing once its owner has paused it, tells what still runs, and lets that finish", async () => {
    expect(awake.held()).toEqual([]);
    const task = await mesh.submit(go("finish"));
    await task.run("h1");
    const said = await vi.waitUntil(async () => {
      const heartbeat = await mesh.heartbeat("h1");
      return heartbeat?.attempts[0]?.use === undefined ? null : heartbeat;
    }, DEADLINE);
    expect(said.versions).toMatchObject({ "host-agent": "0.1.0", node: process.versions.node });
    expect(["ac", "battery", "unknown"]).toContain(said.owner?.power);

    const paused = await runMesh(["host", "pause", "--for", "2h", "--data", host.dataDir, "--json"]);
    expect(paused).toMatchObject({
      code: 0,
      stderr: expect.stringContaining("begins no work until 20") as string,
    });
    expect(JSON.parse(paused.stdout)).toMatchObject({ data: [{ dataDir: host.dataDir, running: true }] });
    await untilWithheld("h1", "its owner has paused it until 20");
    expect(await (await mesh.submit("true")).run("h1")).toMatchObject(WITHHELD);

    if (process.platform === "linux") await vi.waitUntil(() => isAlive(awake.held()[0]), DEADLINE);
    writeFileSync(`${mesh.folder}/finish`, "");
    await task.said("succeeded");
    await vi.waitUntil(() => !isAlive(awake.held()[0]), DEADLINE);
  });

  it("holds to the pause in its next life, until its owner takes it back", async () => {
    host.process.kill("SIGKILL");
    await host.exitCode;
    const owners = { MESH_HOST_PAUSE_DIR: ownFolder(), MESH_DATA_DIR: ownFolder() };
    host = await mesh.host("h1", { ...awake.env, MESH_HOST_PAUSE_DIR: owners.MESH_HOST_PAUSE_DIR });
    await untilWithheld("h1", "its owner has paused it until 20");
    expect(await runMesh(["host", "resume", "--data", host.dataDir])).toMatchObject({ code: 0 });
    await untilWithheld("h1", null);
    expect(await runMesh(["host", "pause"], { env: owners })).toMatchObject({ code: 0 });
    await untilWithheld("h1", "its owner has paused it");
    expect(await runMesh(["host", "resume"], { env: owners })).toMatchObject({ code: 0 });
    await untilWithheld("h1", null);
  });

  it("hands back at once what runs if its owner says so, even while the bus is away", async () => {
    const task = await mesh.submit(go("never"));
    await task.run("h1");
    await vi.waitUntil(() => host.attempts().length > 0, DEADLINE);
    await mesh.nats.kill();
    expect(await runMesh(["host", "pause", "--now", "--data", host.dataDir])).toMatchObject({ code: 0 });
    await vi.waitUntil(() => host.attempts().length === 0, DEADLINE);
    await mesh.nats.start();
    expect(await task.said("faulted")).toMatchObject({
      failure: { category: "preempted", message: "host h1 handed it back: its owner has paused it" },
    });
    await runMesh(["host", "resume", "--data", host.dataDir]);
    await untilWithheld("h1", null);
  });

  it("says its heartbeats while it clones from a remote that hangs", async () => {
    await using remote = await startSilentServer();
    const task = await mesh.submit("true", { cloneUrl: remote.url });
    await task.run("h1");
    await vi.waitUntil(() => remote.callers() > 0, DEADLINE);
    const counter = async () => (await mesh.heartbeat("h1"))?.counter ?? 0;
    const before = await counter();
    await vi.waitUntil(async () => (await counter()) > before + 2, DEADLINE);
    expect(remote.callers()).toBe(1);
    expect((await mesh.heartbeat("h1"))?.attempts).toMatchObject([{ taskId: task.taskId }]);
    await task.stop("h1", 1);
    await task.said("faulted");
    await vi.waitUntil(() => !isAlive(awake.held().at(-1)), DEADLINE);
  });

  it("keeps the machine awake no longer than it lives", async ({ skip }) => {
    skip(process.platform !== "linux", "another program holds it there");
    const held = awake.held().length;
    await (await mesh.submit(go("never"))).run("h1");
    await vi.waitUntil(() => awake.held().length > held && isAlive(awake.held().at(-1)), DEADLINE);
    host.process.kill("SIGKILL");
    await vi.waitFor(() => expect(isAlive(awake.held().at(-1))).toBe(false), DEADLINE);
  });

  it("says until when its owner's hours keep it from working, and offers no memory that its owner keeps", async () => {
    const time = (afterMs: number) => new Date(Date.now() + afterMs).toTimeString().slice(0, 5);
    const hours = `${time(2 * HOUR_MS)}-${time(3 * HOUR_MS)}`;
    await mesh.host("h2", { MESH_HOST_WHEN: hours, MESH_HOST_KEEP_MEMORY: "1000GiB" });
    const said = await untilWithheld("h2", `it is not within ${hours}`);
    const inMs = Date.parse(said.withheld?.until ?? "") - Date.now();
    expect(inMs).toBeGreaterThan(HOUR_MS);
    expect(inMs).toBeLessThan(2 * HOUR_MS);
    expect(said).toMatchObject({
      memory: { totalBytes: 0, availableBytes: 0 },
      memoryOf: { keptBytes: 1_000 * 2 ** 30, vm: null },
    });
    expect(said.memoryOf?.machine.availableBytes).toBeGreaterThan(0);
    expect(await (await mesh.submit("true")).run("h2")).toMatchObject(WITHHELD);
  });
});

describe("a pause", () => {
  it("may be said in a folder of its owner's, and does not take back what was said in the host's own", async () => {
    const [dataDir, owners] = [ownFolder(), ownFolder()];
    writeFileSync(path.join(dataDir, "installation"), "i");
    const said = () => readPauses([dataDir, owners]);
    const asOwner = { env: { MESH_HOST_PAUSE_DIR: owners, MESH_DATA_DIR: ownFolder() } };
    const paused = await runMesh(["host", "pause", "--for", "2h", "--json"], asOwner);
    expect(paused).toMatchObject({ code: 0, stderr: expect.stringContaining(owners) as string });
    expect(JSON.parse(paused.stdout)).toMatchObject({ data: [{ dataDir: owners, running: null }] });
    expect(await said()).toEqual({ untilMs: expect.any(Number) as number, handBack: false });
    expect(await runMesh(["host", "pause", "--now", "--data", dataDir])).toMatchObject({ code: 0 });
    expect(await said()).toEqual({ untilMs: null, handBack: true });
    expect(await runMesh(["host", "resume"], asOwner)).toMatchObject({ code: 0 });
    expect(await said()).toEqual({ untilMs: null, handBack: true });
    await removePause(dataDir);
    expect(await said()).toBeNull();
    await writePause(owners, { untilMs: Date.now() - 1, handBack: true });
    expect(await said()).toBeNull();
  });

  it("that makes no sense is refused with what was expected", async () => {
    const nowhere = await runMesh(["host", "pause", "--data", "/nowhere"]);
    expect(nowhere).toMatchObject({ code: 1, stdout: "" });
    expect(nowhere.stderr).toContain("no host agent has ever run on /nowhere");
    const ages = await runMesh(["host", "pause", "--for", "999999999d"]);
    expect(ages).toMatchObject({ code: 2, stderr: expect.stringContaining("a year at most") as string });
  });

  it("that nobody can read counts as one without an end", async () => {
    const dataDir = ownFolder();
    expect(await readPause(dataDir)).toBeNull();
    mkdirSync(path.join(dataDir, "pause.json"));
    expect(await readPause(dataDir)).toEqual({ untilMs: null, handBack: false });
    rmSync(path.join(dataDir, "pause.json"), { recursive: true });
    const texts = ["", "{", "[]", '{"untilMs":1e300,"handBack":false}', "x".repeat(1_000_000)];
    for (const text of texts) {
      writeFileSync(path.join(dataDir, "pause.json"), text);
      expect(await readPause(dataDir)).toEqual({ untilMs: null, handBack: false });
    }
  });
});

it("readings that hang keep nobody waiting: what was never read is said so, and nothing begins on it", async () => {
  using condition = await startCondition({
    unable: () => null,
    environment: readEnvironment({}),
    hostId: "h1",
    dataDir: ownFolder(),
    isVmUp: null,
    readPlace: () => new Promise(() => {}),
    atWork: () => 0,
    handBack: () => {},
    onChange: () => {},
    log: pino({ level: "silent" }),
  });
  const said = condition.said();
  expect(said).toMatchObject({
    disk: { totalBytes: 0, freeBytes: 0 },
    withheld: { why: "its disk could not be read yet", until: null },
  });
  expect(said.memory.availableBytes).toBeGreaterThan(0);
  expect(condition.judged().withheld).toBe("its disk could not be read yet");
});

it("tells of its virtual machine by its settings until it is up, and of none until that one has been heard", async () => {
  const GIB = 1_073_741_824;
  const disk = { totalBytes: 100 * GIB, freeBytes: 50 * GIB };
  let isUp = false;
  let place: PlaceReading = { disk, caches: [], vmToComeBytes: GIB / 4 };
  using condition = await startCondition({
    unable: () => null,
    environment: readEnvironment({}),
    hostId: "h1",
    dataDir: ownFolder(),
    isVmUp: () => isUp,
    readPlace: async () => place,
    atWork: () => 0,
    handBack: () => {},
    onChange: () => {},
    log: pino({ level: "silent" }),
  });
  expect(condition.judged().vmMemoryBytes).toBe(GIB / 4);
  expect(condition.said().memory.totalBytes).toBeLessThanOrEqual(GIB / 4);
  expect(condition.said().memoryOf).toMatchObject({ vm: null });
  isUp = true;
  expect(condition.judged().vmMemoryBytes).toBeNull();
  const vm = { totalBytes: GIB / 8, availableBytes: GIB / 8 };
  place = { disk, caches: [], vm };
  condition.placeChanged();
  await vi.waitUntil(() => condition.judged().vmMemoryBytes === vm.totalBytes, DEADLINE);
  expect(condition.said()).toMatchObject({ memoryOf: { vm }, withheld: null });
  place = { disk, caches: [], vm: { ...vm, availableBytes: 0, pressure: 0.4 } };
  condition.placeChanged();
  await vi.waitUntil(() => condition.judged().withheld !== null, DEADLINE);
  expect(condition.said()).toMatchObject({ memoryOf: { vm: { pressure: 0.4 } } });
});
