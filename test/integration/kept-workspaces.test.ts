// What a failed attempt leaves is kept where somebody wants to look at it, can be entered on its host, and goes again.
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { describe, expect, it } from "vitest";
import {
  findKept,
  KEPT_MOST,
  KEPT_MS,
  keptWorkspaces,
} from "../../services/host-agent/workspace/kept-workspaces.ts";
import { startAttemptHost } from "../support/attempt.ts";
import { runMesh } from "../support/mesh-program.ts";
import { makeRepository } from "../support/repository.ts";

describe("a workspace that is to be kept", () => {
  it("stays on its host when its attempt fails, and is entered there as the attempt saw it", async () => {
    await using host = await startAttemptHost();
    using repository = makeRepository();
    const words = "echo half > made.txt; echo mine > $HOME/note";
    const keep = (text: string) => host.run(repository, { run: { command: text }, keepWorkspace: true });
    const { taskId } = await keep(`${words}; exit 3`);
    expect((await host.chunks(taskId)).at(-1)?.text).toMatch(/^its workspace is kept on h1 until 20/);
    expect(await host.folders()).toEqual([]);

    const shell = (id: string, ...command: string[]) =>
      runMesh(["shell", id, "--data", host.folder, "--", ...command], { env: { MESH_HOST_SANDBOX: "1" } });
    const looked = await shell(taskId, "sh", "-c", "pwd; cat made.txt ~/note; git status --short; env");
    expect(looked).toMatchObject({ code: 0, stderr: "" });
    expect(looked.stdout).toContain("half\nmine\n?? made.txt\n");
    expect(looked.stdout).toContain(`MESH_TASK_ID=${taskId}\n`);
    if (host.hello.isolation !== "process-group") expect(looked.stdout).toMatch(/^\/srv\/mesh\/work\n/);
    // What the attempt could not see, whoever enters what it left cannot see either.
    if (host.hello.isolation === "sandbox")
      expect((await shell(taskId, "ls", host.folder)).stderr).toContain("command exited 2");
    expect((await shell(taskId, "false")).code).toBe(1);

    const fine = await keep("true");
    const strange = { run: { command: "false" }, keepWorkspace: true, fork: true };
    for (const other of [fine, await host.run(repository, strange)])
      expect(await findKept(path.join(host.folder, "kept"), other.taskId)).toBeNull();
    expect(await shell(fine.taskId, "true")).toMatchObject({
      code: 1,
      stderr: expect.stringContaining(`keeps no workspace of task ${fine.taskId}`),
    });
  });

  it("goes when its time is over, when there are too many, and when nobody can tell whose it is", async () => {
    const folder = await mkdtemp(path.join(tmpdir(), "mesh-kept-"));
    let nowMs = Date.now();
    const kept = keptWorkspaces(path.join(folder, "kept"), () => nowMs);
    const keep = async (taskId: string) => {
      const trees = path.join(folder, taskId);
      await mkdir(trees);
      const about = { attemptKey: taskId, repository: "a/b", sha: "c".repeat(40), failure: "it failed" };
      nowMs += 1_000;
      return kept.keep(trees, { ...about, taskId, attempt: 1 });
    };
    const names = () => readdir(path.join(folder, "kept"));
    for (let number = 1; number <= KEPT_MOST + 2; number++) expect(await keep(`t${number}`)).not.toBeNull();
    expect(await names()).toHaveLength(KEPT_MOST);
    expect(await findKept(path.join(folder, "kept"), "t1")).toBeNull();
    expect(await findKept(path.join(folder, "kept"), "t7")).toMatchObject({ about: { attempt: 1 } });
    await writeFile(path.join(folder, "kept", "t7.1", "kept.json"), "{");
    await kept.sweep();
    expect(await names()).toHaveLength(KEPT_MOST - 1);
    nowMs += KEPT_MS;
    await kept.sweep();
    expect(await names()).toEqual([]);
    await rm(folder, { recursive: true });
  });
});
