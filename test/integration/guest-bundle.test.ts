import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { endFormerLife } from "../../services/host-agent/guest/former-life.ts";
import { localSupervisorCommand } from "../../services/host-agent/supervisor/supervisor-command.ts";
import { connectSupervisor } from "../../services/host-agent/supervisor/supervisor-link.ts";
import { bundleGuest } from "../../services/host-agent/wsl/guest-bundle.ts";

test("the guest's programs work as one file in a folder where nothing else lies", async () => {
  const folder = await mkdtemp(path.join(tmpdir(), "mesh-guest-"));
  try {
    const { fileName, bytes } = await bundleGuest();
    const file = path.join(folder, fileName);
    await writeFile(file, bytes);
    const stateDir = path.join(folder, "state");
    const local = localSupervisorCommand({ stateDir, leaseMs: 60_000, checkMs: 25, frozenLimitMs: 60_000 });
    // The watchdog is one of them: a supervisor without one ends.
    await using link = await connectSupervisor({
      command: [process.execPath, file, ...local.slice(2)],
      onStderr: (text) => process.stderr.write(text),
      silenceMs: 10_000,
      endLeftovers: async () => void (await endFormerLife(stateDir)),
    });
    expect(link.hello.supervisor).not.toBe("");
    await expect(promisify(execFile)(process.execPath, [file, "other"])).rejects.toMatchObject({ code: 2 });
    expect((await bundleGuest()).fileName).toBe(fileName);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
