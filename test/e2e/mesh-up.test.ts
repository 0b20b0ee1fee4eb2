// `mesh up`: ready means ready, one on a folder, and nothing is left however it ends.

import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm, stat } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { describe, expect, it, vi } from "vitest";
import { makeDemoRepository } from "../../services/cli/up/demo-repository.ts";
import { holderOf } from "../../shared/process/folder-lock.ts";
import { processesWith, runMesh, startUp, untilGone } from "../support/mesh-program.ts";

interface Hosts {
  data: { hostId: string; online: boolean; slots: { total: number } }[];
}

describe("mesh up", () => {
  it("is ready when it says so: every host online, the gateway ready, nothing else on stdout", async () => {
    await using up = await startUp(["--hosts", "2", "--slots", "5"]);
    expect((await fetch(`${up.ready.httpUrl}/readyz`)).status).toBe(200);
    const hosts = JSON.parse((await up.mesh(["hosts", "--json"])).stdout) as Hosts;
    expect(hosts.data.map(({ hostId, online, slots }) => [hostId, online, slots.total])).toEqual([
      ["local-1", true, 5],
      ["local-2", true, 5],
    ]);
    expect(up.ready.pids.mesh).toBe(up.process.pid);
    expect(await processesWith("nats-server.conf")).toEqual(
      expect.arrayContaining([expect.stringContaining(String(up.ready.pids.nats))]),
    );
    up.process.kill("SIGTERM");
    const { code, stdout } = await up.process.ended;
    expect(code).toBe(0);
    expect(stdout.trim().split("\n")).toHaveLength(1);
    expect(await untilGone(up.dataDir)).toEqual([]);
    expect(await readdir(up.dataDir)).not.toContain("mesh.json");
  });

  it("keeps its token, which only the owner may read, from run to run", async () => {
    const dataDir = await mkdtemp(path.join(tmpdir(), "mesh-up-"));
    const tokens: string[] = [];
    for (let run = 0; run < 2; run++) {
      await using up = await startUp(["--hosts", "0"], { dataDir });
      const token = (await readFile(path.join(dataDir, "token"), "utf8")).trim();
      expect(up.ready.natsUrl).toContain(`//${token}@127.0.0.1:`);
      for (const file of ["token", "mesh.json", "mesh.log"])
        expect((await stat(path.join(dataDir, file))).mode & 0o077).toBe(0);
      tokens.push(token);
    }
    expect(tokens[0]).toBe(tokens[1]);
    await rm(dataDir, { recursive: true });
  });

  it.each<[string, NodeJS.ProcessEnv]>([
    ["always", {}],
    ["2m", { MESH_NATS_SYNC_INTERVAL: "2m" }],
  ])("syncs what was acknowledged %s, as it is told", async (interval, env) => {
    await using up = await startUp(["--hosts", "0"], { env });
    const config = await readFile(path.join(up.dataDir, "nats", "nats-server.conf"), "utf8");
    expect(config).toContain(`sync_interval: "${interval}"`);
  });

  it("says what it expects where a variable is none", async () => {
    const { code, stdout, stderr } = await runMesh(["up"], { env: { MESH_NATS_SYNC_INTERVAL: "often" } });
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toBe("mesh: MESH_NATS_SYNC_INTERVAL: expected always, or a time such as 1s or 2m\n");
  });

  it("refuses a folder on which another runs, and says whose", async () => {
    await using up = await startUp(["--hosts", "0"]);
    const second = await runMesh([
      "up",
      "--data",
      up.dataDir,
      "--http-port",
      "0",
      "--nats-port",
      "0",
      "--json",
    ]);
    expect(second).toMatchObject({ code: 1, stdout: "" });
    expect(second.stderr).toContain(`process ${up.ready.pids.mesh}`);
    expect(await up.mesh(["hosts"])).toMatchObject({ code: 0 });
  });

  it("is one on a folder, even if two are started at once", async () => {
    const dataDir = await mkdtemp(path.join(tmpdir(), "mesh-up-"));
    const starts = await Promise.allSettled([0, 1].map(() => startUp(["--hosts", "1"], { dataDir })));
    const ready = starts.flatMap((start) => (start.status === "fulfilled" ? [start.value] : []));
    const refused = starts.flatMap((start) => (start.status === "rejected" ? [String(start.reason)] : []));
    try {
      expect([ready.length, refused.length]).toEqual([1, 1]);
      expect(refused[0]).toContain(`process ${ready[0]?.ready.pids.mesh}`);
      expect((await ready[0]?.mesh(["hosts"]))?.code).toBe(0);
    } finally {
      for (const up of ready) await up[Symbol.asyncDispose]();
      await rm(dataDir, { recursive: true });
    }
  });

  it("names the flag of a port that is in use", async () => {
    const busy = createServer().listen(0, "127.0.0.1");
    await once(busy, "listening");
    const port = String((busy.address() as { port: number }).port);
    const dataDir = await mkdtemp(path.join(tmpdir(), "mesh-up-"));
    for (const [flag, other] of [
      ["--http-port", "--nats-port"],
      ["--nats-port", "--http-port"],
    ] as const) {
      const { code, stdout, stderr } = await runMesh(["up", "--data", dataDir, flag, port, other, "0"]);
      expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
      expect(stderr).toContain(`port ${port}`);
      expect(stderr).toContain(flag);
    }
    busy.close();
    expect(await untilGone(dataDir)).toEqual([]);
    await rm(dataDir, { recursive: true });
  });

  it("cordons, drains and uncordons a host over HTTP and NATS, and shows it", async () => {
    await using up = await startUp(["--hosts", "1"]);
    for (const url of [up.ready.httpUrl, up.ready.natsUrl]) {
      const shows = async (word: string) => {
        let stdout = "";
        for (let tries = 0; tries < 20 && !stdout.includes(word); tries++)
          ({ stdout } = await up.mesh(["hosts"]));
        expect(stdout).toContain(word);
      };
      expect(await up.mesh(["cordon", "local-1", "--url", url])).toMatchObject({ code: 0, stdout: "" });
      await shows("cordoned");
      const drained = await up.mesh(["drain", "local-1", "--deadline", "90s", "--json", "--url", url]);
      expect(JSON.parse(drained.stdout)).toEqual({
        hostId: "local-1",
        wish: { kind: "draining", reason: null, deadlineMs: 90_000 },
      });
      await shows("drained");
      expect(await up.mesh(["uncordon", "local-1", "--url", url])).toMatchObject({ code: 0 });
      await shows("online");
      expect(await up.mesh(["drain", "nobody", "--url", url])).toMatchObject({ code: 1 });
      expect(await up.mesh(["drain", "local-1", "--deadline", "soon", "--url", url])).toMatchObject({
        code: 2,
      });
    }
  });

  it("starts its nats-server again when that dies, and exits 1 with words when it dies at once again", async () => {
    await using up = await startUp(["--hosts", "1"]);
    process.kill(up.ready.pids.nats, "SIGKILL");
    const next = await vi.waitUntil(async () => {
      const pid = await holderOf(path.join(up.dataDir, "nats"), "nats-server.lock");
      return pid !== null && pid !== up.ready.pids.nats && pid !== up.ready.pids.mesh && pid;
    }, 20_000);
    process.kill(next, "SIGKILL");
    const { code, stderr } = await up.process.ended;
    expect(code).toBe(1);
    expect(stderr).toContain("nats-server ended unasked (SIGKILL)");
    expect(await untilGone(up.dataDir)).toEqual([]);
  });

  it.each(["SIGKILL", "SIGTERM"] as const)(
    "leaves neither nats-server nor attempts at %s",
    async (signal) => {
      const folder = await mkdtemp(path.join(tmpdir(), "mesh-repo-"));
      const { cloneUrl, branch, sha } = await makeDemoRepository(folder);
      await using up = await startUp(["--hosts", "1"]);
      const sleep = `sleep 98${process.pid}`;
      const task = ["deploy", "--repo", cloneUrl, "--pr-branch", branch, "--sha", sha, "--json", "--"];
      expect((await up.mesh([...task, `echo it runs; ${sleep} & ${sleep}`])).code).toBe(0);
      const deadline = performance.now() + 20_000;
      while ((await processesWith(sleep)).length === 0) {
        if (performance.now() > deadline) throw new Error("the attempt does not begin");
        await new Promise((done) => setTimeout(done, 100));
      }
      up.process.kill(signal);
      expect((await up.process.ended).code).toBe(signal === "SIGTERM" ? 0 : null);
      expect(await untilGone(sleep, 20_000)).toEqual([]);
      expect(await untilGone(up.dataDir, 20_000)).toEqual([]);
      await rm(folder, { recursive: true });
    },
  );

  it("starts again on the folder of one that was killed, whose task it takes up", async () => {
    const dataDir = await mkdtemp(path.join(tmpdir(), "mesh-up-"));
    const { ready, process: killed, mesh } = await startUp(["--hosts", "0"], { dataDir });
    const SHA = "a".repeat(40);
    await mesh([
      "deploy",
      "--repo",
      "a/b",
      "--pr-branch",
      "b",
      "--sha",
      SHA,
      "--task-id",
      "kept-1",
      "--",
      "true",
    ]);
    process.kill(ready.pids.mesh, "SIGKILL");
    await killed.ended;
    await using again = await startUp(["--hosts", "0"], { dataDir });
    expect((await again.mesh(["task", "kept-1"])).stdout).toMatch(/^queued/);
    await again[Symbol.asyncDispose]();
    await rm(dataDir, { recursive: true });
  });
});
