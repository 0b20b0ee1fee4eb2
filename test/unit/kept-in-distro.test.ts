// What is told of kept workspaces in a distro where wsl.exe ends without a word.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { findKeptInDistro } from "../../services/host-agent/wsl/kept-in-distro.ts";
import { readEnvironment } from "../../shared/config/environment.ts";

const TASK = "0198c0de-0000-7000-8000-000000000000";

function find(script: string) {
  const folder = mkdtempSync(path.join(tmpdir(), "mesh-kept-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const program = path.join(folder, "wsl");
  writeFileSync(program, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  return findKeptInDistro(
    ["01a217ba-0000-7000-8000-000000000000"],
    TASK,
    readEnvironment({ MESH_WSL_EXE: program }),
  );
}

describe("looking for a kept workspace in a distro", () => {
  it("finds none where the distro says so", async () => {
    expect(await find("exit 0")).toBeNull();
  });

  it("does not take it for none that the distro went away, or its program failed", async () => {
    await expect(find("echo out of memory >&2; exit 1")).rejects.toThrow("out of memory");
    await expect(find("exit 9")).rejects.toThrow("exit code 9");
  });
});
