// A real host agent under a drain: the status tracker has it know, and it refuses by itself, whoever asks.
import { writeFileSync } from "node:fs";
import path from "node:path";
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

describe("a host that is told over the bus to stop", () => {
  const stop = (mesh: HostMesh, deadlineMs?: number) =>
    vi.waitUntil(async () => {
      const told = await askApi(mesh.bus, "stop", { service: "host-agent", instance: "h1", deadlineMs });
      return told.ok && told.value;
    }, DEADLINE);

  it("takes nothing more, lets what runs come to its end, and ends by itself", async () => {
    await using mesh = await startHostMesh({ leaseMs: 4_000 });
    const host = await mesh.host("h1");
    const task = await mesh.submit(`cd ${mesh.folder}; until [ -e go ]; do sleep 0.05; done`);
    const other = await mesh.submit("true");
    expect(await task.run("h1")).toMatchObject({ ok: true, value: { outcome: "started" } });
    expect(await stop(mesh)).toEqual({ stopping: [{ service: "host-agent", instance: "h1" }] });
    await vi.waitUntil(async () => (await mesh.heartbeat("h1"))?.stopping, DEADLINE);
    expect(await other.run("h1")).toMatchObject(REFUSED);
    // Asked again, it says the same, and no drain that is taken back keeps it.
    expect(await stop(mesh)).toEqual({ stopping: [{ service: "host-agent", instance: "h1" }] });
    await askApi(mesh.bus, "uncordon", { hostId: "h1" });
    expect(await mesh.heartbeat("h1")).toMatchObject({ draining: true, stopping: true });
    writeFileSync(path.join(mesh.folder, "go"), "");
    expect(await host.exitCode).toBe(0);
    expect(await task.story()).toEqual(["requested", "started", "succeeded"]);
    expect(host.output()).toContain("ordered to stop");
  });

  it("ends what still runs at the deadline, against which nothing is counted", async () => {
    await using mesh = await startHostMesh({ leaseMs: 4_000 });
    const host = await mesh.host("h1");
    const task = await mesh.submit("sleep 600");
    await task.run("h1");
    await stop(mesh, 0);
    expect(await host.exitCode).toBe(0);
    expect(await task.said("faulted")).toMatchObject({ failure: { category: "preempted" } });
    expect(await task.said("requeued")).toMatchObject({ failures: 0 });
    expect(host.attempts()).toEqual([]);
  });

  it("is not known by another name", async () => {
    await using mesh = await startHostMesh();
    await mesh.host("h1");
    const ask = () => askApi(mesh.bus, "stop", { service: "host-agent", instance: "h2" });
    const told = await vi.waitUntil(async () => {
      const answered = await ask();
      return !answered.ok && answered.error.code !== "unavailable" && answered.error;
    }, DEADLINE);
    expect(told).toEqual({ code: "not_found", message: expect.stringContaining("host-agent h2") as string });
  });
});
