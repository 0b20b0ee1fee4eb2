// What becomes of a Windows host whose attempts or machine give out half-way: each ends with what was at fault, leaves
// nothing, and the host goes on with the next.
import { execFileSync } from "node:child_process";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { withArguments } from "../../services/host-agent/guest/processes.ts";
import { askApi } from "../../shared/bus/ask.ts";
import type { DeployRequest } from "../../shared/contracts/deploy-request.ts";
import { hasDistros, isOurFake, WSL_PROGRAM } from "../support/fake-wsl.ts";
import { startSilentServer } from "../support/git-server.ts";
import { DEADLINE, type Host } from "../support/host.ts";
import { canMount, mountSmallDisk } from "../support/small-disk.ts";
import { known, startWslMesh, treesIn, type WslMesh } from "../support/wsl-host.ts";

describe.skipIf(!hasDistros)("a host with WSL2", () => {
  let wsl: WslMesh;
  let host: Host;
  beforeAll(async () => {
    wsl = await startWslMesh();
    host = await wsl.host();
  });
  afterAll(() => wsl[Symbol.asyncDispose]());

  async function begin(command: string, overrides: Partial<DeployRequest> = {}) {
    const task = await wsl.submit(command, overrides);
    await task.run("h1");
    return task;
  }

  async function isOfUse(): Promise<void> {
    await vi.waitUntil(async () => (await treesIn(wsl)).length === 0, DEADLINE);
    const task = await wsl.submit("true");
    // Until the host has seen that its disk has room again, it refuses.
    await vi.waitUntil(async () => {
      const reply = await task.run("h1");
      return reply.ok && reply.value.outcome === "started";
    }, DEADLINE);
    expect(await task.said("succeeded")).toMatchObject({ result: { exitCode: 0 } });
  }

  // Those of our fake are small.
  it.runIf(isOurFake)("ends who fills its distro's disk, and has the room again", async () => {
    const task = await begin("cat /dev/zero > full; sleep 60");
    expect(await task.said("faulted")).toMatchObject({ failure: { category: "resource" } });
    await isOfUse();
  });

  it("breaks off a fetch that hangs in a distro, once its task is cancelled", async () => {
    await using silent = await startSilentServer();
    const task = await begin("true", { cloneUrl: silent.url });
    await vi.waitUntil(() => silent.callers() > 0, DEADLINE);
    expect(await askApi(wsl.mesh.bus, "cancel", { taskId: task.taskId })).toMatchObject({ ok: true });
    await task.said("cancelled");
    await vi.waitUntil(() => withArguments(silent.url).length === 0, DEADLINE);
    await isOfUse();
  });

  it("gives up what was being told when wsl.exe ended in the middle of it", async () => {
    const former = wsl.supervisor(host);
    const flood = "while :; do head -c 1000000 /dev/zero; done";
    const task = await begin(flood);
    await vi.waitUntil(() => withArguments(flood).length > 0, DEADLINE);
    process.kill(known(wsl.wslExe(host)), "SIGKILL");
    expect(await task.said("faulted")).toMatchObject({ failure: { category: "host" } });
    expect(withArguments(flood)).toEqual([]);
    await vi.waitUntil(() => ![undefined, former].includes(wsl.supervisor(host)), DEADLINE);
    await isOfUse();
  });

  it.runIf(isOurFake && canMount)(
    "says that its own disk is full while no distro can be made, and goes on later",
    async () => {
      // Room for the disk that is copied, and for no copy of it.
      using disk = mountSmallDisk(700);
      const other = await wsl.mesh.host("h2", {
        MESH_HOST_INSTANCES: "wsl2",
        MESH_WSL_EXE: WSL_PROGRAM,
        MESH_HOST_ISOLATION: "distro",
        MESH_HOST_MAX_INSTANCES: "1",
        MESH_DATA_DIR: path.relative(wsl.mesh.folder, disk.folder),
      });
      await vi.waitUntil(() => other.output().includes('"reason":"disk-full"'), DEADLINE);
      expect(await wsl.mesh.heartbeat("h2")).toMatchObject({ slots: { free: 0 } });
      execFileSync("mount", ["-o", "remount,size=1600m", disk.folder]);
      const isFree = async () => ((await wsl.mesh.heartbeat("h2"))?.slots.free ?? 0) > 0;
      await vi.waitUntil(isFree, { timeout: 60_000, interval: 100 });
      const task = await wsl.submit("true");
      await task.run("h2");
      expect(await task.said("succeeded")).toMatchObject({ result: { exitCode: 0 } });
      other.process.kill("SIGTERM");
      expect(await other.exitCode).toBe(0);
    },
  );
});
