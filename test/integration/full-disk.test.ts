// Disks that are full, for real: under the bus, and under a host's work.
import { mkdirSync, rmSync } from "node:fs";
import path from "node:path";
import { jetstreamManager } from "@nats-io/jetstream";
import { describe, expect, it, vi } from "vitest";
import { askApi } from "../../shared/bus/ask.ts";
import { lastIntake } from "../../shared/bus/intake.ts";
import { cramped } from "../../shared/bus/provision.ts";
import { lastMessage } from "../../shared/bus/read.ts";
import { ARTIFACTS, DEAD, LOGS, RESERVE, TASKS } from "../../shared/bus/streams.ts";
import { submitTask } from "../../shared/bus/submit.ts";
import { artifactSubject } from "../../shared/contracts/artifact.ts";
import { taskSubjects } from "../../shared/contracts/fact.ts";
import { logSubject } from "../../shared/contracts/log.ts";
import { openBus } from "../support/bus.ts";
import { request } from "../support/facts.ts";
import {
  deployRequest,
  postJson,
  problemOf,
  sayStarted,
  saySucceeded,
  startGatewayMesh,
} from "../support/gateway.ts";
import { DEADLINE, startHostMesh } from "../support/host.ts";
import { startNats } from "../support/nats.ts";
import { canMount, mountSmallDisk } from "../support/small-disk.ts";
import { startSupervisor } from "../support/supervisor.ts";

const DISK_MEBIBYTES = 64;
/** Most of what the mesh holds there for facts. */
const RESERVED_BYTES = 1_500_000;
const CHUNK = new Uint8Array(256 * 1024);

it("full disks were tested", ({ skip }) => {
  skip(!canMount, "mounting a tmpfs takes root on Linux");
  expect(canMount).toBe(true);
});

describe.skipIf(!canMount)("a full disk", () => {
  it("under the bus leaves the log its room, acknowledges nothing that is not stored, and goes on once there is room", async () => {
    using disk = mountSmallDisk(DISK_MEBIBYTES);
    await using nats = await startNats({ dataDir: path.join(disk.folder, "nats") });
    await using bus = await openBus(nats.url);
    const manager = await jetstreamManager(bus.connection);
    const capOf = async (name: string) => (await manager.streams.info(name)).config.max_bytes;
    const caps = await Promise.all([LOGS, ARTIFACTS, DEAD].map(capOf));
    for (const cap of caps) expect(cap).toBeGreaterThan(0);
    expect(caps.reduce((sum, cap) => sum + cap)).toBeLessThan((DISK_MEBIBYTES * 2 ** 20) / 2);

    const told = (name: string) => expect.stringMatching(`^${name} keeps`);
    expect(await cramped(bus)).toEqual(expect.arrayContaining([LOGS, ARTIFACTS, DEAD].map(told)));

    const owner = { taskId: "t1", attempt: "1", hostId: "h1" };
    for (let number = 0; number < 200; number++) {
      await bus.js.publish(logSubject.build(owner), CHUNK);
      await bus.js.publish(artifactSubject.build({ ...owner, name: "log" }), CHUNK);
    }
    expect(await submitTask(bus, request({ taskId: "after-logs" }))).toMatchObject({ ok: true });

    // Large requests fill the log itself.
    const acknowledged: string[] = [];
    const large = request({ run: { command: Array.from({ length: 12 }, () => "x".repeat(32_000)) } });
    let refused: Awaited<ReturnType<typeof submitTask>> | null = null;
    for (let number = 0; refused === null; number++) {
      const submitted = await submitTask(bus, { ...large, taskId: `large-${number}` });
      if (submitted.ok) acknowledged.push(submitted.value.taskId);
      else refused = submitted;
    }
    expect(refused).toMatchObject({
      error: { code: "unavailable", message: expect.stringContaining("insufficient resources") },
    });
    expect(acknowledged.length).toBeGreaterThan(10);
    for (const taskId of acknowledged)
      expect(await lastMessage(bus, TASKS, taskSubjects(taskId))).not.toBeNull();

    await manager.streams.purge(LOGS);
    expect(await submitTask(bus, request({ taskId: "with-room" }))).toMatchObject({ ok: true });
  });

  it("under the bus has requests wait, in words, while what was taken before goes on to its end", async () => {
    using disk = mountSmallDisk(DISK_MEBIBYTES);
    await using nats = await startNats({ dataDir: path.join(disk.folder, "nats") });
    await using mesh = await startGatewayMesh({ natsUrl: nats.url });
    const { bus } = mesh;
    const manager = await jetstreamManager(bus.connection);
    const reserve = async () => (await manager.streams.info(RESERVE)).state.bytes;
    const isFull = async () => (await lastIntake(bus))?.full === true;
    for (let number = 0; number < 20; number++)
      await bus.js.publish(logSubject.build({ taskId: "t1", attempt: "1", hostId: "h1" }), CHUNK);
    const taken = Array.from({ length: 20 }, (_, number) => `taken-${number}`);
    for (const taskId of taken)
      expect(await submitTask(bus, request({ taskId }))).toMatchObject({ ok: true });
    await vi.waitUntil(async () => (await reserve()) > RESERVED_BYTES, DEADLINE);

    const large = request({ run: { command: Array.from({ length: 12 }, () => "x".repeat(32_000)) } });
    while ((await submitTask(bus, large)).ok);
    await vi.waitUntil(isFull, DEADLINE);
    await vi.waitUntil(async () => (await reserve()) === 0, DEADLINE);
    const words = expect.stringContaining("the disk of the bus is full") as string;
    const refused = { code: "unavailable", message: words };
    await vi.waitUntil(async () => !(await submitTask(bus, request())).ok, DEADLINE);
    expect(await submitTask(bus, request())).toMatchObject({ error: refused });
    expect(await submitTask(bus, request({ taskId: "taken-0" }))).toMatchObject({
      value: { created: false },
    });
    const response = await postJson(`${mesh.url}/v1/tasks`, deployRequest());
    expect([response.status, await problemOf(response)]).toMatchObject([503, { detail: words }]);

    for (const taskId of taken) {
      await sayStarted(bus, taskId);
      await saySucceeded(bus, taskId);
    }
    const cancelled = await askApi(bus, "cancel", { repository: "acme/shop" }, 20_000);
    expect(cancelled).toMatchObject({ ok: true });
    await vi.waitUntil(
      async () =>
        Object.values((await lastIntake(bus))?.unfinished ?? { all: 1 }).every((count) => count === 0),
      DEADLINE,
    );
    expect(await askApi(bus, "retry", { taskId: "taken-0" })).toMatchObject({ error: refused });
    expect(await isFull()).toBe(true);

    await manager.streams.purge(LOGS);
    await vi.waitUntil(async () => (await submitTask(bus, request())).ok, DEADLINE);
    expect(await reserve()).toBeGreaterThan(RESERVED_BYTES);
  });

  it("under a host's work fails the attempt, in words, and keeps the host of use", async () => {
    using disk = mountSmallDisk(DISK_MEBIBYTES);
    await using mesh = await startHostMesh();
    const host = await mesh.host("h1", { MESH_DATA_DIR: path.relative(mesh.folder, disk.folder) });
    const full = await mesh.submit("head -c 200000000 /dev/zero > zeros; echo it is full; exit 3", {
      maxAttempts: 1,
    });
    await full.run(host.id);
    const failed = (await full.said("faulted")) as { failure: object };
    expect(failed.failure).toMatchObject({
      category: "resource",
      message: expect.stringMatching(/disk .*full/),
    });
    await vi.waitUntil(() => host.attempts().length === 0, DEADLINE);
    // Room for the work and git's copy of it, and none for the patch, which the host itself writes.
    const unfit = await mesh.submit("head -c 22000000 /dev/urandom > data", { maxAttempts: 1 });
    // Refused until the host has seen that its disk has room again.
    const taken = async (task: typeof unfit) => {
      const reply = await task.run(host.id);
      return reply.ok && reply.value.outcome === "started";
    };
    await vi.waitUntil(() => taken(unfit), DEADLINE);
    expect(await unfit.said("faulted")).toMatchObject({ failure: { category: "resource" } });
    const next = await mesh.submit("true");
    await vi.waitUntil(() => taken(next), DEADLINE);
    await next.said("succeeded");
    host.process.kill("SIGTERM");
    await host.exitCode;
  });

  it("under several attempts ends the one that has the most of it, and lets the others go on", async () => {
    using disk = mountSmallDisk(DISK_MEBIBYTES);
    await using supervisor = await startSupervisor();
    const stretch = await supervisor.lease();
    const begin = (attempt: string, script: string) => {
      const folder = path.join(disk.folder, attempt);
      mkdirSync(folder);
      const mounts = { workTree: folder, home: folder, temporary: folder };
      const limits = { diskFreeBytes: Number.MAX_SAFE_INTEGER };
      return supervisor.exec(script, { attempt, stretch, mounts, limits, stdin: "pipe" });
    };
    const modest = begin("modest", "head -c 4000000 /dev/zero > some; echo begun; read line; echo went on");
    await vi.waitUntil(() => modest.stdout() !== "", DEADLINE);
    const greedy = begin("greedy", "head -c 200000000 /dev/zero > most; read line");
    expect(await greedy.finished).toMatchObject({ cause: "disk-full" });
    await supervisor.link.kill("greedy");
    rmSync(path.join(disk.folder, "greedy"), { recursive: true });
    modest.write("\n");
    expect(await modest.finished).toMatchObject({ cause: "exited", exitCode: 0 });
    expect(modest.stdout()).toBe("begun\nwent on\n");
  });
});
