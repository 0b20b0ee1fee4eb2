// A disk of a test's own that is soon full: a tmpfs, gone with the test. Mounting takes root on Linux.
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmdirSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

/** Whether this process may mount; where not, tests of full disks are skipped. */
export const canMount = process.platform === "linux" && process.getuid?.() === 0 && tries();

export function mountSmallDisk(mebibytes: number): Disposable & { folder: string } {
  const folder = mkdtempSync(path.join(tmpdir(), "mesh-small-disk-"));
  execFileSync("mount", ["-t", "tmpfs", "-o", `size=${mebibytes}m`, "agent-mesh-test", folder], {
    stdio: "pipe",
  });
  return {
    folder,
    [Symbol.dispose]() {
      execFileSync("umount", ["--lazy", folder]);
      rmdirSync(folder);
    },
  };
}

function tries(): boolean {
  try {
    mountSmallDisk(1)[Symbol.dispose]();
    return true;
  } catch {
    return false;
  }
}
