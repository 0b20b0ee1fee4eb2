// `mesh` where the Node on PATH is older than the project needs: the launcher runs the project's own, and passes
// everything on.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { text } from "node:stream/consumers";
import { describe, expect, it } from "vitest";
import { olderNode, runMesh, startUp, untilGone } from "../support/mesh-program.ts";

const OLDER_NODE = await olderNode();

describe.skipIf(OLDER_NODE === null)("under an older Node", () => {
  const node = OLDER_NODE ?? "";

  it("everything works the same, exit codes and standard input too", async () => {
    expect(await runMesh(["--version"], { node })).toMatchObject({ code: 0 });
    expect(await runMesh(["tasks", "--frob"], { node })).toMatchObject({ code: 2 });
    expect(await runMesh(["hosts"], { node })).toMatchObject({ code: 1 });
    const piped = await runMesh(["deploy", "--file", "-"], { node, input: "{}" });
    expect(piped.code).toBe(2);
    expect(piped.stderr).toContain("repository");
  });

  it.each(["SIGTERM", "SIGINT"] as const)("%s to the launcher ends the mesh with exit 0", async (signal) => {
    await using up = await startUp(["--hosts", "0"], { node });
    expect(up.process.pid).not.toBe(up.ready.pids.mesh);
    up.process.kill(signal);
    expect((await up.process.ended).code).toBe(0);
    expect(await untilGone(up.dataDir)).toEqual([]);
  });

  it("the mesh ends when its launcher is killed", async () => {
    await using up = await startUp(["--hosts", "0"], { node });
    up.process.kill("SIGKILL");
    expect(await untilGone(up.dataDir)).toEqual([]);
  });

  it("a checkout without its own Node says what to do", async () => {
    const folder = await mkdtemp(path.join(tmpdir(), "mesh-bare-"));
    for (const file of ["mesh.js", "package.json"])
      await cp(path.resolve("services/cli", file), path.join(folder, "services/cli", file));
    const child = spawn(node, [path.join(folder, "services/cli/mesh.js"), "--help"]);
    const [words, [code]] = await Promise.all([text(child.stderr), once(child, "close")]);
    expect(code).toBe(1);
    expect(words).toContain("npm ci");
    await rm(folder, { recursive: true });
  });
});
