// `mesh drill` against a `mesh up` as a user has it: each fault really happens, is recovered from, and nothing runs
// twice; what is asked wrongly is refused in words, and nothing is left, however it ends.
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import type { DrillReport } from "../../services/cli/drill/faults.ts";
import { startProgram, startUp, type UpMesh, untilGone } from "../support/mesh-program.ts";
import { isAlive } from "../support/nats.ts";
import { startServiceProcesses } from "../support/service-processes.ts";

const LEASE_MS = 3_000;

let up: UpMesh;
beforeAll(async () => {
  up = await startUp(["--hosts", "1"], { env: { MESH_LEASE_MS: String(LEASE_MS) } });
});
afterAll(() => up[Symbol.asyncDispose]());

async function drill(...args: string[]): Promise<DrillReport> {
  const { code, stdout, stderr } = await up.mesh(["drill", ...args, "--json"]);
  if (code !== 0) throw new Error(`exit ${code}: ${stdout}${stderr}`);
  return JSON.parse(stdout) as DrillReport;
}

async function temporaryFolder(): Promise<AsyncDisposable & { path: string }> {
  const folder = await mkdtemp(path.join(tmpdir(), "mesh-drill-test-"));
  return {
    path: folder,
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true, maxRetries: 5 }),
  };
}

const unfinished = async (): Promise<number> => {
  const { stdout } = await up.mesh(["tasks", "--json"]);
  const tasks = stdout
    .split("\n")
    .filter((line) => line !== "")
    .flatMap((line) => {
      const parsed = JSON.parse(line) as { data?: { state: string }[]; state?: string };
      return parsed.data ?? [parsed];
    });
  return tasks.filter(({ state }) => !["succeeded", "failed", "cancelled"].includes(state ?? "")).length;
};

describe("mesh drill", () => {
  it("kill-host: its tasks begin again elsewhere, and nothing runs twice", async () => {
    const report = await drill("kill-host");
    expect(report).toMatchObject({ drill: "kill-host", ranTwice: [], ok: true });
    expect(report.recoveredMs).toBeGreaterThan(0);
    expect(report.aimMs).toBe(LEASE_MS * 1.25 + 5_000);
    expect(report.begunAnew).toHaveLength(4);
    expect(report.witnessLines).toBeGreaterThan(4 * 5);
    const victim = Number(/process (\d+)/.exec(report.killed)?.[1]);
    expect(await isAlive(victim)).toBe(false);
  });

  it.each(["kill-scheduler", "kill-tracker"])(
    "%s: new work flows again, and nothing that ran is begun anew",
    async (fault) => {
      const report = await drill(fault);
      expect(report).toMatchObject({ drill: fault, ranTwice: [], begunAnew: [], ok: true });
      expect(report.killed).toMatch(/that led, process \d+ of the drill's own/);
    },
  );

  it("kill-bus: the nats-server is another one, all running attempts go on, and none is begun anew", async () => {
    const report = await drill("kill-bus");
    expect(report).toMatchObject({ drill: "kill-bus", ranTwice: [], begunAnew: [], ok: true });
    expect(report.killed).toBe(`nats-server, process ${up.ready.pids.nats}, of ${up.dataDir}`);
    expect(await isAlive(up.ready.pids.nats)).toBe(false);
  });

  it("kills a user's own host by the user's own command, and its tasks run elsewhere or anew", async () => {
    await using folder = await temporaryFolder();
    const { natsUrl } = up.ready;
    await using services = await startServiceProcesses(folder.path, {
      NATS_URL: natsUrl,
      MESH_LEASE_MS: String(LEASE_MS),
      MESH_ALLOW_FILE_CLONES: "1",
    });
    const host = services.start("host-agent", {
      MESH_HOST_ID: "attic",
      MESH_DATA_DIR: path.join(folder.path, "attic"),
    });
    await vi.waitUntil(async () => (await up.mesh(["hosts"])).stdout.includes("attic"), 60_000);
    const command = `kill -9 ${host.pid()}`;
    const report = await drill("kill-host", "--host", "attic", "--command", command);
    expect(report).toMatchObject({ ranTwice: [], ok: true });
    expect(report.killed).toBe(`host attic, by what this kills: ${command}`);
  });

  it("says so when the user's command does not work, and ends its tasks", async () => {
    const { code, stderr } = await up.mesh([
      "drill",
      "kill-host",
      "--command",
      "exit 7",
      "--host",
      "local-1",
    ]);
    expect(code).toBe(1);
    expect(stderr).toContain("--command did not work");
    expect(await unfinished()).toBe(0);
  });

  it("that is interrupted leaves no task, no process and no folder of its own", async () => {
    await using folder = await temporaryFolder();
    const env = { MESH_DATA_DIR: up.dataDir, TMPDIR: folder.path };
    const child = startProgram(["drill", "kill-host"], { env });
    let said = "";
    child.stderr?.on("data", (chunk: Buffer) => (said += chunk.toString()));
    await vi.waitUntil(() => said.includes("tasks of the drill's own run"), 60_000);
    child.kill("SIGINT");
    expect((await child.ended).code).toBe(130);
    expect(await readdir(folder.path)).toEqual([]);
    expect(await untilGone(folder.path)).toEqual([]);
    expect(await unfinished()).toBe(0);
  });

  it.each([
    [["kill-all"], "Allowed choices are kill-host"],
    [["kill-host", "--host", "attic"], "--host is for kill-host with --command"],
    [["kill-bus", "--repo", "https://example.invalid/a/b.git"], "go together"],
    [["kill-host", "--url", "http://127.0.0.1:1"], "name it by NATS_URL"],
  ])("%j is refused in words", async (args, words) => {
    const { code, stderr } = await up.mesh(["drill", ...args]);
    expect({ code, stderr }).toMatchObject({ code: 2, stderr: expect.stringContaining(words) });
  });
});
