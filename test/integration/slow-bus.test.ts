// A bus whose disk takes long to sync, and one that answers only every now and then. A slow disk is made of a real one by
// a tracer of system calls, since a device mapper cannot be taken for granted.
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { setTimeout as delay } from "node:timers/promises";
import { describe, expect, it, vi } from "vitest";
import { start as startScheduler } from "../../services/scheduler/main.ts";
import { submitTask } from "../../shared/bus/submit.ts";
import { contextFor } from "../support/bus.ts";
import { request } from "../support/facts.ts";
import { startHostMesh } from "../support/host.ts";

const LEASE_MS = 8_000;
const STILL_MS = 1_200;
const AWAKE_MS = 150;
const DEADLINE = { timeout: 120_000, interval: 100 };

/** Each sync of a file takes so much longer. */
const SYNC_MS = 300;
const canTrace = process.platform === "linux" && spawnSync("strace", ["--version"]).status === 0;

type Slow = (pid: () => number) => Promise<() => Promise<void>>;

const standsStill: Slow = async (pid) => {
  const over = new AbortController();
  const pulses = (async () => {
    while (!over.signal.aborted) {
      process.kill(pid(), "SIGSTOP");
      await delay(STILL_MS);
      process.kill(pid(), "SIGCONT");
      await delay(AWAKE_MS);
    }
  })();
  return async () => {
    over.abort();
    await pulses;
  };
};

const syncsSlowly: Slow = async (pid) => {
  const inject = `inject=fsync,fdatasync:delay_enter=${SYNC_MS * 1_000}`;
  const args = ["-f", "-p", String(pid()), "-e", "trace=fsync,fdatasync", "-e", inject, "-o", "/dev/null"];
  const tracer = spawn("strace", args, { stdio: ["ignore", "ignore", "pipe"] });
  // It says so once it has every thread.
  await once(tracer.stderr, "data");
  return async () => {
    tracer.kill("SIGINT");
    await once(tracer, "close");
  };
};

/** What five tasks came to, two of them begun before; `leastMs`: by so much, at least, the bus is slow. */
async function storiesOn(slow: Slow, leastMs: number): Promise<string[]> {
  await using mesh = await startHostMesh({ leaseMs: LEASE_MS, syncInterval: "always" });
  const context = contextFor(mesh.nats.url, { MESH_LEASE_MS: String(LEASE_MS) });
  await using _ = await startScheduler(context);
  await mesh.host("h1", { MESH_HOST_SLOTS: "4" });
  const before = await Promise.all([1, 2].map(() => mesh.submit("sleep 6")));
  for (const task of before) await task.said("started");

  const end = await slow(mesh.nats.pid);
  const slowSinceMs = performance.now();
  const during = await Promise.all(["a", "b", "c"].map((taskId) => mesh.submit("echo done", { taskId })));
  expect(performance.now() - slowSinceMs).toBeGreaterThan(leastMs);
  const known = await submitTask(mesh.bus, request({ taskId: "a" }));
  expect(known).toMatchObject({ error: { code: "conflict" } });
  const all = [...before, ...during];
  await vi.waitUntil(async () => {
    const kinds = await Promise.all(all.map((task) => task.kinds()));
    return kinds.every((of) => of.includes("succeeded"));
  }, DEADLINE);
  await end();
  const stories = await Promise.all(all.map((task) => task.story()));
  return stories.map((kinds) => kinds.join());
}

const EACH_ONCE = Array.from({ length: 5 }, () => "requested,started,succeeded");

describe("a bus", () => {
  it("that answers only every now and then loses no task, and has none begin again", async () => {
    expect(await storiesOn(standsStill, STILL_MS / 2)).toEqual(EACH_ONCE);
  });

  it.skipIf(!canTrace)(
    "whose disk takes long for every sync loses no task, and has none begin again",
    async () => {
      expect(await storiesOn(syncsSlowly, SYNC_MS)).toEqual(EACH_ONCE);
    },
  );

  it("with a slow disk was tested", ({ skip }) => {
    skip(!canTrace, "NOT TESTED: this machine has no strace");
    expect(canTrace).toBe(true);
  });
});
