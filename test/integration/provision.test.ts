import { type JetStreamManager, jetstreamManager, StorageType } from "@nats-io/jetstream";
import { Kvm } from "@nats-io/kv";
import { describe, expect, it, vi } from "vitest";
import { type Bus, connectBus } from "../../shared/bus/connect.ts";
import { keepProvisioned, provision } from "../../shared/bus/provision.ts";
import { HOSTS, LEASES, STREAMS, STREAMS_VERSION, TASKS } from "../../shared/bus/streams.ts";
import { submitTask } from "../../shared/bus/submit.ts";
import { factSubject } from "../../shared/contracts/fact.ts";
import { openBus } from "../support/bus.ts";
import { request } from "../support/facts.ts";
import { startMortalNats, startNats } from "../support/nats.ts";

async function configurations(manager: JetStreamManager) {
  const streams = await manager.streams.list().next();
  return Object.fromEntries(streams.map(({ config, created }) => [config.name, { config, created }]));
}

const publish = (bus: Bus, subject: string) =>
  bus.js.publish(subject, "{}", { timeout: 2_000, retries: 0 }).then(
    () => "stored",
    () => "refused",
  );

describe("provisioning", () => {
  it("makes every stream, and changes nothing when it is done again or by several at once", async () => {
    await using nats = await startNats();
    await using bus = await connectBus({ url: nats.url, name: "test" });
    const manager = await jetstreamManager(bus.connection);
    await Promise.all(Array.from({ length: 5 }, () => provision(bus)));
    const made = await configurations(manager);
    expect(Object.keys(made).toSorted()).toEqual(STREAMS.map(({ name }) => name).toSorted());
    for (const { name, subjects } of STREAMS) expect(made[name]?.config.subjects).toEqual(subjects);
    await submitTask(bus, request({ taskId: "t1" }));
    await provision(bus);
    expect(await configurations(manager)).toEqual(made);
    expect((await manager.streams.info(TASKS)).state.messages).toBe(1);
  });

  it("brings streams and buckets of an older version up to date, and keeps what they hold", async () => {
    await using nats = await startNats();
    await using bus = await connectBus({ url: nats.url, name: "test" });
    const manager = await jetstreamManager(bus.connection);
    const kept = factSubject.build({ taskId: "t1", kind: "requested", speaker: "normal" });
    await manager.streams.add({
      name: TASKS,
      subjects: [kept],
      storage: StorageType.File,
      max_msg_size: 999,
    });
    await bus.js.publish(kept, "{}");
    const bucket = await new Kvm(bus.js).create(LEASES.bucket, { ttl: 60_000 });
    await bucket.put("scheduler", "somebody");
    const before = await configurations(manager);
    await provision(bus);
    const after = await configurations(manager);
    const wanted = STREAMS.find(({ name }) => name === TASKS);
    expect(after[TASKS]?.config).toMatchObject({
      subjects: wanted?.subjects,
      max_msg_size: wanted?.max_msg_size,
      metadata: { "mesh-streams-version": String(STREAMS_VERSION) },
    });
    expect(after[`KV_${LEASES.bucket}`]?.config.max_age).toBe(LEASES.ttlMs * 1_000_000);
    for (const name of Object.keys(before)) expect(after[name]?.created).toBe(before[name]?.created);
    expect((await manager.streams.getMessage(TASKS, { seq: 1 }))?.subject).toBe(kept);
    expect((await bucket.get("scheduler"))?.string()).toBe("somebody");
  });

  it("never takes a newer version's configuration back", async () => {
    await using nats = await startNats();
    await using bus = await connectBus({ url: nats.url, name: "test" });
    const manager = await jetstreamManager(bus.connection);
    await provision(bus);
    const newer = STREAMS.map((stream) => ({ ...stream, description: "newer" }));
    await provision(bus, newer, STREAMS_VERSION + 1);
    await provision(bus);
    expect((await manager.streams.info(TASKS)).config.description).toBe("newer");
  });

  it("puts right what an older version that began in the same moment wrote last", async () => {
    await using nats = await startNats();
    await using bus = await connectBus({ url: nats.url, name: "test" });
    using _ = await keepProvisioned(bus, 100);
    const manager = await jetstreamManager(bus.connection);
    const before = (await manager.streams.info(TASKS)).config;
    const metadata = { "mesh-streams-version": String(STREAMS_VERSION - 1) };
    await manager.streams.update(TASKS, { max_msg_size: 999, metadata });
    await vi.waitFor(async () => expect((await manager.streams.info(TASKS)).config).toMatchObject(before), {
      timeout: 20_000,
      interval: 50,
    });
  });

  it("is done again when a server was started again and has lost what lay in memory", async () => {
    await using nats = await startMortalNats();
    await using bus = await openBus(nats.url);
    const manager = await jetstreamManager(bus.connection, { timeout: 1_000 });
    await nats.kill();
    await nats.start();
    const there = () =>
      manager.streams.info(HOSTS).then(
        () => true,
        () => false,
      );
    await vi.waitUntil(there, { timeout: 20_000 });
    expect(Object.keys(await configurations(manager))).toHaveLength(STREAMS.length);
  });

  it("leaves no room on the log for what nobody owns", async () => {
    await using nats = await startNats();
    await using bus = await openBus(nats.url);
    expect(await publish(bus, "mesh.task.t1.cancelRequested.control")).toBe("stored");
    for (const subject of [
      "mesh.task.t1.invented.control",
      "mesh.task.t1.requested.urgent",
      "mesh.task.t1.cancelled.host-1",
      "mesh.task.t1.requested",
    ])
      expect(await publish(bus, subject), subject).toBe("refused");
  });
});
