// What is kept in the golden distro between attempts, and for people: dependency caches, and what failed attempts leave.
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import type { DeployRequest } from "../../shared/contracts/deploy-request.ts";
import { hasDistros, WSL_PROGRAM } from "../support/fake-wsl.ts";
import { DEADLINE, type Host } from "../support/host.ts";
import { runMesh } from "../support/mesh-program.ts";
import { startWslMesh, treesIn, type WslMesh } from "../support/wsl-host.ts";

describe.skipIf(!hasDistros)("a host with WSL2 keeps", () => {
  let wsl: WslMesh;
  let host: Host;
  beforeAll(async () => {
    wsl = await startWslMesh();
    host = await wsl.host({ MESH_HOST_UNTRUSTED: "1" });
  });
  afterAll(() => wsl[Symbol.asyncDispose]());

  async function run(command: string, overrides: Partial<DeployRequest> = {}) {
    const task = await wsl.submit(command, overrides);
    await task.run("h1");
    return task;
  }
  const shell = (taskId: string, ...command: string[]) =>
    runMesh(["shell", taskId, "--data", host.dataDir, "--", ...command], {
      env: { MESH_HOST_SANDBOX: "1", MESH_WSL_EXE: WSL_PROGRAM },
    });

  it("what package managers have fetched, for work and gates apart, and lends no stranger any of it", async () => {
    const first = await run("echo fetched > $XDG_CACHE_HOME/note");
    await first.said("succeeded");
    const second = await run("grep fetched $XDG_CACHE_HOME/note", {
      checks: ["test ! -e $XDG_CACHE_HOME/note && echo judged > $XDG_CACHE_HOME/note"],
    });
    expect(await second.said("succeeded")).toMatchObject({ result: { checks: [{ verdict: "confirmed" }] } });
    const strangers = await run('test -z "$XDG_CACHE_HOME"', { fork: true });
    expect(await strangers.said("succeeded")).toMatchObject({ result: { exitCode: 0 } });
    const third = await run("true", { checks: ["grep judged $XDG_CACHE_HOME/note"] });
    expect(await third.said("succeeded")).toMatchObject({ result: { checks: [{ verdict: "confirmed" }] } });
  });

  it("what a failed attempt has left, which is entered through wsl.exe as the attempt saw it", async () => {
    const words = "echo half > made.txt; echo mine > $HOME/note; exit 3";
    const failed = await run(words, { keepWorkspace: true });
    await failed.said("faulted");
    await vi.waitUntil(async () => (await treesIn(wsl)).length === 0, DEADLINE);
    const looked = await shell(
      failed.taskId,
      "sh",
      "-c",
      'pwd; cat made.txt ~/note; echo "$1"',
      "sh",
      "a  $b",
    );
    expect(looked).toEqual({ code: 0, stderr: "", stdout: "/srv/mesh/work\nhalf\nmine\na  $b\n" });
    const other = await shell(failed.taskId, "ls", "/var/lib/agent-mesh");
    expect(other).toMatchObject({ code: 1, stderr: expect.stringContaining("command exited 2") });
    expect(await shell("0198c0de-0000-7000-8000-000000000000", "true")).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("keeps no workspace of task"),
    });
  });

  it("nothing of an attempt that had a distro of its own", async () => {
    host.process.kill("SIGTERM");
    await host.exitCode;
    host = await wsl.host({ MESH_HOST_ISOLATION: "distro", MESH_HOST_MAX_INSTANCES: "1" });
    const failed = await run("exit 3", { keepWorkspace: true });
    await failed.said("faulted");
    expect(await shell(failed.taskId, "true")).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("keeps no workspace of task"),
    });
  });
});
