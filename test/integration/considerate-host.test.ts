// Real host agents as guests on somebody's machine: they begin nothing while its owner needs it, and say why.
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { pino } from "pino";
import { afterEach, describe, expect, it, vi } from "vitest";
import { startCondition } from "../../services/host-agent/condition.ts";
import { readPause } from "../../services/host-agent/owner/pause.ts";
import { readEnvironment } from "../../shared/config/environment.ts";
import { DEADLINE, type HostMesh, startHostMesh } from "../support/host.ts";
import { runMesh } from "../support/mesh-program.ts";

const HOUR_MS = 3_600_000;
const GIB = 1_073_741_824;

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
});

const untilWithheld = (mesh: HostMesh, hostId: string, why: string | null, boot = 1) =>
  vi.waitUntil(async () => {
    const said = await mesh.heartbeat(hostId);
    const matches = why === null ? said?.withheld === null : (said?.withheld?.why.includes(why) ?? false);
    return said?.boot === boot && matches ? said : null;
  }, DEADLINE);

/** Hours of the wall clock that begin in two hours and last for one. */
function laterToday(): string {
  const time = (afterMs: number) => new Date(Date.now() + afterMs).toTimeString().slice(0, 5);
  return `${time(2 * HOUR_MS)}-${time(3 * HOUR_MS)}`;
}

describe("a host outside its owner's hours", () => {
  it("says until when, refuses what it is asked, and offers no memory that its owner keeps", async () => {
    await using mesh = await startHostMesh();
    const hours = laterToday();
    await mesh.host("h1", { MESH_HOST_WHEN: hours });
    const said = await untilWithheld(mesh, "h1", `it is not within ${hours}`);
    const inMs = Date.parse(said.withheld?.until ?? "") - Date.now();
    expect(inMs).toBeGreaterThan(HOUR_MS);
    expect(inMs).toBeLessThan(2 * HOUR_MS);
    const task = await mesh.submit("true");
    expect(await task.run("h1")).toMatchObject({
      ok: true,
      value: { outcome: "refused", reason: "withheld", message: expect.stringContaining(hours) as string },
    });

    await mesh.host("h2", { MESH_HOST_KEEP_MEMORY: "1000GiB" });
    const rich = await mesh.heartbeat("h2");
    expect(rich).toMatchObject({
      memory: { totalBytes: 0, availableBytes: 0 },
      memoryOf: { keptBytes: 1_000 * GIB, vm: null },
      withheld: null,
    });
    expect(rich?.memoryOf?.machine.availableBytes).toBeGreaterThan(0);
    expect(await task.run("h2")).toMatchObject({ value: { outcome: "refused", reason: "memory" } });
  });

  it("is not started by a rule that nobody understands", async () => {
    await using mesh = await startHostMesh({ tracker: false });
    const host = mesh.spawnHost("h1", { MESH_HOST_WHEN: "after work" });
    expect(await host.exitCode).toBe(2);
    expect(host.output()).toMatch(/MESH_HOST_WHEN: expected always, or conditions/);
  });
});

it("a host tells what its attempts use, and of what version it is", async () => {
  await using mesh = await startHostMesh();
  await mesh.host("h1");
  const task = await mesh.submit(`until [ -e ${mesh.folder}/go ]; do sleep 0.05; done`);
  await task.run("h1");
  const said = await vi.waitUntil(async () => {
    const heartbeat = await mesh.heartbeat("h1");
    return heartbeat?.attempts[0]?.use === undefined ? null : heartbeat;
  }, DEADLINE);
  expect(said.versions).toMatchObject({ "host-agent": "0.1.0", node: process.versions.node });
  expect(["ac", "battery", "unknown"]).toContain(said.owner?.power);
});

const WITHHELD = { ok: true, value: { outcome: "refused", reason: "withheld" } };

describe("a host that its owner pauses at the machine", () => {
  it("begins nothing, also after it was started again, and finishes what runs", async () => {
    await using mesh = await startHostMesh({ leaseMs: 4_000 });
    const { dataDir, ...host } = await mesh.host("h1");
    const task = await mesh.submit(`until [ -e ${mesh.folder}/go ]; do sleep 0.05; done`);
    await task.run("h1");
    const paused = await runMesh(["host", "pause", "--for", "2h", "--data", dataDir, "--json"]);
    expect(paused).toMatchObject({
      code: 0,
      stderr: expect.stringContaining("begins no work until 20") as string,
    });
    expect(JSON.parse(paused.stdout)).toMatchObject({ data: [{ dataDir, running: true }] });
    await untilWithheld(mesh, "h1", "its owner has paused it until 20");
    const other = await mesh.submit("true");
    expect(await other.run("h1")).toMatchObject(WITHHELD);
    writeFileSync(`${mesh.folder}/go`, "");
    await task.said("succeeded");

    host.process.kill("SIGKILL");
    await host.exitCode;
    await mesh.host("h1");
    await untilWithheld(mesh, "h1", "its owner has paused it until 20", 2);
    expect(await runMesh(["host", "resume", "--data", dataDir])).toMatchObject({ code: 0 });
    await untilWithheld(mesh, "h1", null, 2);
    await other.run("h1");
    await other.said("succeeded");
  });

  it("hands back at once what runs if its owner says so, even while the bus is away", async () => {
    await using mesh = await startHostMesh();
    const host = await mesh.host("h1");
    const task = await mesh.submit("sleep 600");
    await task.run("h1");
    await vi.waitUntil(() => host.attempts().length > 0, DEADLINE);
    await mesh.nats.kill();
    expect(await runMesh(["host", "pause", "--now", "--data", host.dataDir])).toMatchObject({ code: 0 });
    await vi.waitUntil(() => host.attempts().length === 0, DEADLINE);
    await mesh.nats.start();
    expect(await task.said("faulted")).toMatchObject({
      failure: { category: "preempted", message: "host h1 handed it back: its owner has paused it" },
    });
  });

  it("is told what was expected where that makes no sense", async () => {
    const nowhere = await runMesh(["host", "pause", "--data", "/nowhere"]);
    expect(nowhere).toMatchObject({ code: 1, stdout: "" });
    expect(nowhere.stderr).toContain("no host agent has ever run on /nowhere");
    const ages = await runMesh(["host", "pause", "--for", "999999999d"]);
    expect(ages).toMatchObject({ code: 2, stderr: expect.stringContaining("a year at most") as string });
  });

  it("takes a pause that nobody can read for one without an end", async () => {
    const dataDir = mkdtempSync(path.join(tmpdir(), "mesh-pause-"));
    folders.push(dataDir);
    expect(await readPause(dataDir)).toBeNull();
    const texts = ["", "{", "[]", '{"untilMs":1e300,"handBack":false}', "x".repeat(1_000_000)];
    for (const text of texts) {
      writeFileSync(path.join(dataDir, "pause.json"), text);
      expect(await readPause(dataDir)).toEqual({ untilMs: null, handBack: false });
    }
  });
});

/** A program of that name, first on the host's PATH, that holds nothing; the id of each process that it was. */
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

const isAlive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};

describe.skipIf(process.platform !== "linux")("a machine that would go to sleep by itself", () => {
  it("is kept awake while work runs there and no longer, also where the host agent is killed", async () => {
    await using mesh = await startHostMesh();
    const { env, held } = inhibitor(mesh.folder);
    const host = await mesh.host("h1", env);
    for (const [index, end] of ["go", "kill"].entries()) {
      expect(held()).toHaveLength(index);
      const task = await mesh.submit(
        `until [ -e ${mesh.folder}/go ]; do sleep 0.05; done; rm ${mesh.folder}/go`,
      );
      await task.run("h1");
      await vi.waitUntil(() => held().length === index + 1, DEADLINE);
      const pid = held()[index] as number;
      expect(isAlive(pid)).toBe(true);
      if (end === "kill") host.process.kill("SIGKILL");
      else writeFileSync(`${mesh.folder}/go`, "");
      await vi.waitUntil(() => !isAlive(pid), DEADLINE);
      if (end === "go") await task.said("succeeded");
    }
  });
});

describe("readings that hang", () => {
  it("keep nobody waiting: what was never read is said so, and nothing begins on it", async () => {
    const dataDir = mkdtempSync(path.join(tmpdir(), "mesh-condition-"));
    folders.push(dataDir);
    using condition = await startCondition({
      environment: readEnvironment({}),
      hostId: "h1",
      dataDir,
      readPlace: () => new Promise(() => {}),
      atWork: () => 0,
      handBack: () => {},
      onChange: () => {},
      log: pino({ level: "silent" }),
    });
    expect(condition.said()).toMatchObject({
      disk: { totalBytes: 0, freeBytes: 0 },
      withheld: { why: "its disk could not be read yet", until: null },
    });
    expect(condition.said().memory.availableBytes).toBeGreaterThan(0);
    expect(condition.judged().withheld).toBe("its disk could not be read yet");
  });
});
