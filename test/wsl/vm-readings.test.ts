// What a Windows host tells of its virtual machine: its memory before and after it is up, and a clock that is wrong.
import { globSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { GOLDEN_DISTRO } from "../../services/host-agent/wsl/distro-layout.ts";
import { hasDistros, isOurFake } from "../support/fake-wsl.ts";
import { DEADLINE, type Host } from "../support/host.ts";
import { startWslMesh, type WslMesh } from "../support/wsl-host.ts";

const GIB = 1_073_741_824;
const hasFaketime = globSync("/usr/lib/*/faketime/libfaketimeMT.so.1").length > 0;

describe.skipIf(!hasDistros)("a host with WSL2", () => {
  let wsl: WslMesh;
  let host: Host;
  beforeAll(async () => {
    wsl = await startWslMesh();
  });
  afterEach(async () => {
    wsl.windows.faults({});
    host.process.kill("SIGTERM");
    await host.exitCode;
  });
  afterAll(() => wsl[Symbol.asyncDispose]());

  const stateOfGolden = async () => {
    const listed = await wsl.windows.wsl.list();
    return listed.ok ? listed.value.find(({ name }) => name === GOLDEN_DISTRO)?.state : listed.failure;
  };

  it("that has no machine up goes by .wslconfig, and starts none for what that one could not hold", async () => {
    const config = path.join(wsl.windows.folder, ".wslconfig");
    writeFileSync(config, "[wsl2]\r\nmemory=2GB\r\n");
    host = await wsl.bareHost({ MESH_HOST_WARM: "0" });
    await vi.waitUntil(async () => ((await wsl.mesh.heartbeat("h1"))?.slots.free ?? 0) > 0, DEADLINE);
    const said = await wsl.mesh.heartbeat("h1");
    expect(said?.memory.totalBytes).toBeLessThanOrEqual(2 * GIB);
    expect(said?.memoryOf).toMatchObject({ vm: null });
    const task = await wsl.submit("true", { limits: { memoryBytes: 1.5 * GIB } });
    expect(await task.run("h1")).toMatchObject({
      value: { reason: "memory", message: expect.stringContaining("virtual machine has 1024 MiB") as string },
    });
    expect(await stateOfGolden()).toBe("Stopped");
    const smaller = await wsl.submit("true", { limits: { memoryBytes: GIB } });
    expect(await smaller.run("h1")).toMatchObject({ value: { outcome: "started" } });
    await smaller.said("succeeded");
    rmSync(config);
  });

  it.runIf(isOurFake)("says its heartbeats while wsl.exe hangs and its supervisor has died", async () => {
    host = await wsl.host();
    wsl.windows.faults({ hang: "" });
    process.kill(wsl.supervisor(host) ?? 0, "SIGKILL");
    await vi.waitUntil(() => wsl.hanging() > 0, DEADLINE);
    const counter = async () => (await wsl.mesh.heartbeat("h1"))?.counter ?? 0;
    const before = await counter();
    await vi.waitUntil(async () => (await counter()) > before + 2, DEADLINE);
    expect(wsl.hanging()).toBeGreaterThan(0);
  });

  it.runIf(isOurFake && hasFaketime)("tells of a clock in there that is wrong, and sets it", async () => {
    wsl.windows.faults({ clockOffMs: -90_000 });
    host = await wsl.host();
    await vi.waitUntil(async () => {
      const ms = (await wsl.mesh.heartbeat("h1"))?.vmClockAheadMs ?? 0;
      return ms < -80_000 && ms > -100_000;
    }, DEADLINE);
    await vi.waitUntil(() => wsl.windows.calls().some(({ line }) => line.includes("hwclock -s")), DEADLINE);
    expect(host.output()).toContain("the distro's clock is wrong, and is set");
  });

  it("was tested with a wrong clock", ({ skip }) => {
    skip(!hasFaketime, "NOT TESTED: no libfaketime (apt install faketime)");
    expect(hasFaketime).toBe(true);
  });
});
