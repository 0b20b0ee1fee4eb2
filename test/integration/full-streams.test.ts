// Output and artifacts beyond what the bus keeps of them, while tasks run: caps that a test can reach.
import { jetstreamManager } from "@nats-io/jetstream";
import { pino } from "pino";
import { describe, expect, it, vi } from "vitest";
import { start as startTracker } from "../../services/status-tracker/main.ts";
import { askApi } from "../../shared/bus/ask.ts";
import { lastMessage } from "../../shared/bus/read.ts";
import { ARTIFACTS, LOGS } from "../../shared/bus/streams.ts";
import { artifactSubject } from "../../shared/contracts/artifact.ts";
import { logSubject } from "../../shared/contracts/log.ts";
import { contextFor } from "../support/bus.ts";
import { DEADLINE, startHostMesh } from "../support/host.ts";

const CAP_BYTES = 1_000_000;
const PRINTS = "yes 'one line of output that is kept for as long as there is room' | head -c 800000";

describe("streams of output and of artifacts that are full", () => {
  it("lose their oldest, say so once and to who asks, and hold up no task", async () => {
    await using mesh = await startHostMesh({ tracker: false });
    const manager = await jetstreamManager(mesh.bus.connection);
    for (const stream of [LOGS, ARTIFACTS]) await manager.streams.update(stream, { max_bytes: CAP_BYTES });
    const warnings: string[] = [];
    const write = (line: string) => void warnings.push((JSON.parse(line) as { msg: string }).msg);
    const log = pino({ level: "warn" }, { write });
    await using _ = await startTracker({ ...contextFor(mesh.nats.url, { MESH_LEASE_MS: "12000" }), log });
    const host = await mesh.host("h1");
    const notices = async () => {
      const hosts = await askApi(mesh.bus, "hosts", {});
      return hosts.ok
        ? hosts.value.notices.filter((words) => words.includes("keeps only what came since"))
        : [];
    };
    expect(await notices()).toEqual([]);

    const kept = async (taskId: string) => ({
      log: (await lastMessage(mesh.bus, LOGS, logSubject.wildcard({ taskId }))) !== null,
      artifacts: (await lastMessage(mesh.bus, ARTIFACTS, artifactSubject.wildcard({ taskId }))) !== null,
    });
    const run = async () => {
      const task = await mesh.submit(PRINTS);
      await task.run(host.id);
      expect(await task.said("succeeded")).toMatchObject({ result: { exitCode: 0 } });
      return task.taskId;
    };
    const first = await run();
    for (let number = 0; number < 3; number++) await run();
    const told = await vi.waitUntil(async () => {
      const words = await notices();
      return words.length === 2 ? words : null;
    }, DEADLINE);
    expect(told.join()).toMatch(/LOGS is full, at 1000000 bytes.*ARTIFACTS is full/);
    const last = await run();
    expect(await kept(first)).toEqual({ log: false, artifacts: false });
    expect(await kept(last)).toEqual({ log: true, artifacts: true });
    expect(warnings.filter((words) => words.includes("is full"))).toHaveLength(2);

    await manager.streams.purge(LOGS);
    await vi.waitUntil(async () => (await notices()).length === 1, DEADLINE);
  });
});
