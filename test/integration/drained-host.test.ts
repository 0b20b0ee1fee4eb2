// A real host agent under a drain: the status tracker has it know, and it refuses by itself, whoever asks.
import { describe, expect, it, vi } from "vitest";
import { askApi } from "../../shared/bus/ask.ts";
import { DEADLINE, type HostMesh, startHostMesh } from "../support/host.ts";

const untilSays = (mesh: HostMesh, draining: boolean, boot: number) =>
  vi.waitUntil(async () => {
    const said = await mesh.heartbeat("h1");
    return said?.boot === boot && said.draining === draining;
  }, DEADLINE);

const REFUSED = { ok: true, value: { outcome: "refused", reason: "draining" } };

describe("a host that is drained", () => {
  it("says so, refuses what it is asked, also after it was started again, until it is uncordoned", async () => {
    await using mesh = await startHostMesh({ leaseMs: 4_000 });
    const host = await mesh.host("h1");
    const task = await mesh.submit("true");
    await vi.waitUntil(async () => (await askApi(mesh.bus, "drain", { hostId: "h1" })).ok, DEADLINE);
    await untilSays(mesh, true, 1);
    expect(await task.run("h1")).toMatchObject(REFUSED);
    host.process.kill("SIGKILL");
    await host.exitCode;
    await mesh.host("h1");
    await untilSays(mesh, true, 2);
    expect(await task.run("h1")).toMatchObject(REFUSED);
    await askApi(mesh.bus, "uncordon", { hostId: "h1" });
    await untilSays(mesh, false, 2);
    expect(await task.run("h1")).toMatchObject({ ok: true, value: { outcome: "started" } });
    await task.said("succeeded");
  });

  it("is told by a tracker that begins while the drain stands, and goes on with what it runs", async () => {
    await using mesh = await startHostMesh({ leaseMs: 4_000, tracker: false });
    await mesh.host("h1");
    await using first = await mesh.startTracker();
    const task = await mesh.submit("until [ -e go ]; do sleep 0.05; done");
    await task.run("h1");
    await vi.waitUntil(async () => (await askApi(mesh.bus, "drain", { hostId: "h1" })).ok, DEADLINE);
    await first[Symbol.asyncDispose]();
    await using _ = await mesh.startTracker();
    await untilSays(mesh, true, 1);
    expect(await mesh.heartbeat("h1")).toMatchObject({ attempts: [{ taskId: task.taskId }] });
  });
});
