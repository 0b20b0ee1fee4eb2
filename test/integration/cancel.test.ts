// A cancel at every stage of a task's life, with real services and a real host: in time, its whole tree is gone and
// the fact is on the log.
import { existsSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { signalAll, treeOf } from "../../services/host-agent/guest/processes.ts";
import { start as startScheduler } from "../../services/scheduler/main.ts";
import { askApi } from "../../shared/bus/ask.ts";
import { factSubject } from "../../shared/contracts/fact.ts";
import type { RunReply } from "../../shared/contracts/order.ts";
import { contextFor } from "../support/bus.ts";
import { request } from "../support/facts.ts";
import { startSilentServer } from "../support/git-server.ts";
import { DEADLINE, type Host, type HostMesh, startHostMesh, type Task } from "../support/host.ts";
import { openLink } from "../support/link.ts";
import { startScriptedHost } from "../support/scripted-host.ts";

/** What the mesh promises, by the lease that these tests have. */
const IN_TIME_MS = 15_000;
const LEASE_MS = 4_000;
const QUEUED = 10_000;
const IGNORES_SIGTERM = "trap '' TERM INT HUP; while :; do sleep 0.2; done";

let mesh: HostMesh;
let host: Host;
beforeAll(async () => {
  mesh = await startHostMesh({ leaseMs: LEASE_MS });
  host = await mesh.host("h1");
});
afterAll(() => mesh[Symbol.asyncDispose]());

const stateOf = async ({ taskId }: Pick<Task, "taskId">) => {
  const task = await askApi(mesh.bus, "get", { taskId });
  return task.ok ? task.value.state : task.error.code;
};
const cancel = ({ taskId }: Pick<Task, "taskId">) => askApi(mesh.bus, "cancel", { taskId }, IN_TIME_MS);

/** Cancels it and waits until that is on the log and nothing of it is left. */
async function expectGoneInTime(task: Pick<Task, "taskId">, of: Host = host): Promise<void> {
  const beganMs = performance.now();
  expect(await cancel(task)).toMatchObject({ ok: true, value: { cancelled: [task.taskId] } });
  await vi.waitUntil(async () => (await stateOf(task)) === "cancelled", DEADLINE);
  expect(of.attempts()).toEqual([]);
  expect(performance.now() - beganMs).toBeLessThan(IN_TIME_MS);
}

/** Cancels it and waits until that is on the log, whatever has become of its host. */
async function expectEndsInTime(task: Pick<Task, "taskId">): Promise<void> {
  const beganMs = performance.now();
  expect(await cancel(task)).toMatchObject({ ok: true });
  await vi.waitUntil(async () => (await stateOf(task)) === "cancelled", DEADLINE);
  expect(performance.now() - beganMs).toBeLessThan(IN_TIME_MS);
}

const saidOnLog = async (task: Task) => (await task.story()).slice(-2);

describe("a task that is cancelled", () => {
  it("while its host clones from a remote that hangs never runs", async () => {
    await using remote = await startSilentServer();
    const task = await mesh.submit("true", { cloneUrl: remote.url });
    await task.run(host.id);
    await vi.waitUntil(() => remote.callers() > 0, DEADLINE);
    await expectGoneInTime(task);
    expect(await task.story()).toEqual(["requested", "started", "cancelRequested", "faulted", "cancelled"]);
  });

  it("while its command ignores SIGTERM is gone with all that it started", async () => {
    const task = await mesh.submit(`(${IGNORES_SIGTERM}) & ${IGNORES_SIGTERM}`);
    await task.run(host.id);
    await vi.waitUntil(() => host.attempts().length >= 2, DEADLINE);
    await expectGoneInTime(task);
    expect(await saidOnLog(task)).toEqual(["faulted", "cancelled"]);
  });

  it("while its checks run is gone with them", async () => {
    const begun = path.join(mesh.folder, "the-check-has-begun");
    const task = await mesh.submit("true", { checks: [`touch ${begun}; ${IGNORES_SIGTERM}`] });
    await task.run(host.id);
    await vi.waitUntil(() => existsSync(begun), DEADLINE);
    await expectGoneInTime(task);
    expect(await saidOnLog(task)).toEqual(["faulted", "cancelled"]);
  });

  it("twice, by several at once, is cancelled once; one that has ended has nothing to cancel", async () => {
    const task = await mesh.submit("sleep 600");
    await task.run(host.id);
    const answers = await Promise.all([cancel(task), cancel(task), cancel(task)]);
    for (const answer of answers) expect(answer).toMatchObject({ ok: true });
    await expectGoneInTime(task);
    expect(await cancel(task)).toMatchObject({ ok: true });
    const kinds = await task.kinds();
    expect(kinds.filter((kind) => kind === "cancelRequested")).toHaveLength(1);
    expect(kinds.filter((kind) => kind === "cancelled")).toHaveLength(1);

    const done = await mesh.submit("true");
    await done.run(host.id);
    await done.said("succeeded");
    expect(await cancel(done)).toMatchObject({ ok: false, error: { code: "conflict" } });
    expect(await stateOf(done)).toBe("succeeded");
  });

  it("while its host stands still ends without it, and the host's return ends the tree", async () => {
    const frozen = await mesh.host("frozen");
    const task = await mesh.submit("while :; do sleep 0.2; done");
    await task.run(frozen.id);
    await vi.waitUntil(() => frozen.attempts().length > 0, DEADLINE);
    const machine = treeOf(frozen.process.pid ?? 0);
    signalAll(machine, "SIGSTOP");
    try {
      await expectEndsInTime(task);
      expect(await saidOnLog(task)).toEqual(["cancelRequested", "cancelled"]);
    } finally {
      signalAll(machine, "SIGCONT");
    }
    await vi.waitUntil(() => frozen.attempts().length === 0, DEADLINE);
    expect(await stateOf(task)).toBe("cancelled");
    frozen.process.kill("SIGTERM");
    await frozen.exitCode;
  });

  it("while its host is cut off ends without it, and the host's return ends the tree", async () => {
    await using link = await openLink(mesh.nats.port);
    const away = await mesh.host("away", { NATS_URL: `nats://127.0.0.1:${link.port}` });
    const task = await mesh.submit("while :; do sleep 0.2; done");
    await task.run(away.id);
    await vi.waitUntil(() => away.attempts().length > 0, DEADLINE);
    link.cut("both");
    await expectEndsInTime(task);
    // Frozen by then, and ended once it hears of it.
    expect(away.attempts().length).toBeGreaterThan(0);
    link.mend();
    await vi.waitUntil(() => away.attempts().length === 0, DEADLINE);
    expect(await task.story()).toEqual(["requested", "started", "cancelRequested", "cancelled"]);
    away.process.kill("SIGTERM");
    await away.exitCode;
  });

  it("after its host has gone for ever ends without it", async () => {
    const doomed = await mesh.host("doomed");
    const task = await mesh.submit("while :; do sleep 0.2; done");
    await task.run(doomed.id);
    await vi.waitUntil(() => doomed.attempts().length > 0, DEADLINE);
    signalAll(treeOf(doomed.process.pid ?? 0), "SIGKILL");
    await doomed.exitCode;
    await expectEndsInTime(task);
    expect(await task.story()).toEqual(["requested", "started", "cancelRequested", "cancelled"]);
  });

  it("while it is being placed begins nowhere, though the host that was asked says so later", async () => {
    await using _ = await startScheduler(contextFor(mesh.nats.url, { MESH_LEASE_MS: String(LEASE_MS) }));
    const order = Promise.withResolvers<void>();
    const begun = Promise.withResolvers<RunReply>();
    const onlyThere = { slow: "yes" };
    await using slow = await startScriptedHost(mesh.bus, "slow", {
      about: { labels: onlyThere },
      async onRun(asked, self) {
        await order.promise;
        const reply = await self.begin(asked);
        begun.resolve(reply);
        return reply;
      },
    });
    const task = await mesh.submit("true", { labels: onlyThere });
    await vi.waitUntil(() => slow.orders.length > 0, DEADLINE);
    await expectGoneInTime(task);
    order.resolve();
    expect(await begun.promise).toMatchObject({ outcome: "refused" });
    expect(await task.story()).toEqual(["requested", "cancelRequested", "cancelled"]);
    slow.fallSilent();
  });

  it(`while it is queued behind ${QUEUED} others is cancelled before them`, async () => {
    const labels = { nobody: "has-it" };
    // As whoever submits without the API.
    const payload = JSON.stringify({ ...request({ labels }), after: 0 });
    const others = Array.from({ length: QUEUED }, (_, number) =>
      factSubject.build({ taskId: `before-${number}`, kind: "requested", speaker: "normal" }),
    );
    while (others.length > 0)
      await Promise.all(others.splice(0, 500).map((other) => mesh.bus.js.publish(other, payload)));
    const task = await mesh.submit("true", { labels });
    await expectGoneInTime(task);
    expect(await task.story()).toEqual(["requested", "cancelRequested", "cancelled"]);
    expect(await stateOf({ taskId: "before-0" })).toBe("queued");
  });
});
