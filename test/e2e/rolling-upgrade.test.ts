// Every process of a mesh is replaced, one after the other, while tasks flow.
import { describe, expect, it, vi } from "vitest";
import { askApi } from "../../shared/bus/ask.ts";
import { DEADLINE, type LoadedMesh, startLoadedMesh } from "../support/loaded-mesh.ts";

const HOSTS = ["host-1", "host-2"];
const SERVICES = ["status-tracker", "scheduler", "gateway"] as const;

const untilOnline = (mesh: LoadedMesh, hostId: string, afterBoot = 0) =>
  vi.waitUntil(async () => {
    const host = await mesh.host(hostId);
    return host !== null && host.online && !host.draining && host.boot > afterBoot;
  }, DEADLINE);

/** Tasks flow through the mesh as it is now. */
const untilFlows = async (load: { acknowledged(): number }) => {
  const before = load.acknowledged();
  await vi.waitUntil(() => load.acknowledged() >= before + 6, DEADLINE);
};

/** Replaces it by what `stop` has end, and goes on once its next life works. */
async function replace(mesh: LoadedMesh, name: string, stop: () => Promise<unknown>): Promise<void> {
  const process = mesh.services[name];
  const lives = process?.lives() ?? 0;
  const boot = (await mesh.host(name))?.boot;
  await stop();
  await vi.waitUntil(() => process?.lives() === lives + 1, DEADLINE);
  if (boot !== undefined) await untilOnline(mesh, name, boot);
}

const ordered =
  (mesh: LoadedMesh, service: (typeof SERVICES)[number] | "host-agent", instance?: string) => () =>
    vi.waitUntil(async () => (await askApi(mesh.bus, "stop", { service, instance })).ok, DEADLINE);

/** By hand, as where nobody can be told over the bus. */
const drainedAndTold = (mesh: LoadedMesh, hostId: string) => async () => {
  await vi.waitUntil(async () => (await askApi(mesh.bus, "drain", { hostId })).ok, DEADLINE);
  const isEmpty = async () => {
    const host = await mesh.host(hostId);
    return host?.draining === true && host.attempts.length === 0;
  };
  await vi.waitUntil(isEmpty, DEADLINE);
  const lives = mesh.services[hostId]?.lives() ?? 0;
  mesh.services[hostId]?.signal("SIGTERM");
  // The life that ends is to be given nothing more.
  await vi.waitUntil(() => mesh.services[hostId]?.lives() === lives + 1, DEADLINE);
  await vi.waitUntil(async () => (await askApi(mesh.bus, "uncordon", { hostId })).ok, DEADLINE);
};

describe("a rolling upgrade under load", () => {
  it.each<[string, (mesh: LoadedMesh, name: string) => () => Promise<unknown>]>([
    [
      "an order over the bus",
      (mesh, name) =>
        HOSTS.includes(name)
          ? ordered(mesh, "host-agent", name)
          : ordered(mesh, name as (typeof SERVICES)[number]),
    ],
    [
      "SIGTERM, the hosts drained first",
      (mesh, name) =>
        HOSTS.includes(name)
          ? drainedAndTold(mesh, name)
          : async () => mesh.services[name]?.signal("SIGTERM"),
    ],
  ])("by %s loses nothing, runs nothing twice, and counts no failure", async (_, stopOf) => {
    await using mesh = await startLoadedMesh();
    for (const hostId of HOSTS) await untilOnline(mesh, hostId);
    const load = mesh.load();
    for (const name of [...SERVICES, ...HOSTS]) {
      await untilFlows(load);
      await replace(mesh, name, stopOf(mesh, name));
    }
    await untilFlows(load);
    const done = await load.stop();
    expect(done.length).toBeGreaterThan(30);
    const wrong = done.filter(
      ({ task, acts }) => task.state !== "succeeded" || task.failures > 0 || acts.join() !== "begin,end",
    );
    expect(wrong).toEqual([]);
    expect(mesh.crashes).toEqual([]);
  });
});
