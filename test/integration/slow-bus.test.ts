// A bus that answers only every now and then, as one does whose disk is slow: nats-server stands still for most of the
// time. (A disk that is itself slow takes a device mapper, or a tracer of system calls: neither can be taken for granted.)
import { setTimeout as delay } from "node:timers/promises";
import { expect, it, vi } from "vitest";
import { start as startScheduler } from "../../services/scheduler/main.ts";
import { submitTask } from "../../shared/bus/submit.ts";
import { contextFor } from "../support/bus.ts";
import { request } from "../support/facts.ts";
import { startHostMesh } from "../support/host.ts";

const LEASE_MS = 8_000;
const STILL_MS = 1_200;
const AWAKE_MS = 150;
const DEADLINE = { timeout: 120_000, interval: 100 };

it("a bus that answers only every now and then loses no task, and has none begin again", async () => {
  await using mesh = await startHostMesh({ leaseMs: LEASE_MS });
  const context = contextFor(mesh.nats.url, { MESH_LEASE_MS: String(LEASE_MS) });
  await using _ = await startScheduler(context);
  await mesh.host("h1", { MESH_HOST_SLOTS: "4" });
  const before = await Promise.all([1, 2].map(() => mesh.submit("sleep 6")));
  for (const task of before) await task.said("started");

  const over = new AbortController();
  const pulses = (async () => {
    while (!over.signal.aborted) {
      process.kill(mesh.nats.pid(), "SIGSTOP");
      await delay(STILL_MS);
      process.kill(mesh.nats.pid(), "SIGCONT");
      await delay(AWAKE_MS);
    }
  })();
  const submitted = ["a", "b", "c"].map((taskId) => mesh.submit("echo done", { taskId }));
  const during = await Promise.all(submitted);
  const unknown = await submitTask(mesh.bus, request({ taskId: "a" }));
  expect(unknown).toMatchObject({ error: { code: "conflict" } });
  await vi.waitUntil(async () => {
    const kinds = await Promise.all([...before, ...during].map((task) => task.kinds()));
    return kinds.every((of) => of.includes("succeeded"));
  }, DEADLINE);
  over.abort();
  await pulses;
  for (const task of [...before, ...during])
    expect((await task.kinds()).filter((kind) => kind !== "resumed")).toEqual([
      "requested",
      "started",
      "succeeded",
    ]);
});
