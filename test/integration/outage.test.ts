// A bus that is away for several leases while a host is full of work: it costs time, and nothing else.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { expect, it, vi } from "vitest";
import { startHostMesh } from "../support/host.ts";

const LEASE_MS = 4_000;
const ATTEMPTS = 20;
const DEADLINE = { timeout: 90_000, interval: 50 };

it("an outage of several leases with twenty attempts running: all go on, and none begins again", async () => {
  await using mesh = await startHostMesh({ leaseMs: LEASE_MS });
  const host = await mesh.host("h1", { MESH_HOST_SLOTS: String(ATTEMPTS) });
  const go = path.join(mesh.folder, "go");
  const work = Array.from({ length: ATTEMPTS }, (_, number) => {
    const witness = path.join(mesh.folder, `witness-${number}`);
    const command = `while ! test -e ${go}; do echo $MESH_ATTEMPT >> ${witness}; sleep 0.2; done`;
    return { witness, command };
  });
  const resources = { memoryBytes: 1_000_000, cpus: 0.01 };
  const tasks = await Promise.all(work.map(({ command }) => mesh.submit(command, { resources })));
  for (const task of tasks) await task.run(host.id);
  const acts = () =>
    work.map(({ witness }) => (existsSync(witness) ? readFileSync(witness, "utf8").length : 0));
  await vi.waitUntil(() => acts().every((count) => count > 0), DEADLINE);

  await mesh.nats.kill();
  // What is tested: an outage of this length.
  await delay(3 * LEASE_MS);
  const frozen = acts();
  await mesh.nats.start();
  for (const task of tasks) await task.said("resumed");
  await vi.waitUntil(() => acts().every((count, number) => count > (frozen[number] ?? 0)), DEADLINE);
  writeFileSync(go, "");
  for (const task of tasks) {
    await task.said("succeeded");
    expect(await task.story()).toEqual(["requested", "started", "succeeded"]);
  }
  for (const { witness } of work)
    expect(new Set(readFileSync(witness, "utf8").trim().split("\n"))).toEqual(new Set(["1"]));
});
