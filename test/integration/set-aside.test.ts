import { JetStreamApiError, jetstreamManager } from "@nats-io/jetstream";
import { pino } from "pino";
import { describe, expect, it, vi } from "vitest";
import { Burial } from "../../services/status-tracker/burial.ts";
import { setAside } from "../../shared/bus/set-aside.ts";
import { DEAD } from "../../shared/bus/streams.ts";
import type { Malformed } from "../../shared/contracts/fact.ts";
import { openBus } from "../support/bus.ts";
import { startNats } from "../support/nats.ts";

const message = (sequence: number, length = 10) => ({
  sequence,
  subject: "mesh.task.t1.requested.normal",
  problem: "the payload is no JSON text",
  payload: "A".repeat(length),
});

const malformed = (sequence: number): Malformed => ({
  taskId: "t1",
  kind: "requested",
  speaker: "normal",
  body: null,
  problem: "the payload is no JSON text",
  sequence,
  timeMs: 0,
});

describe("a message that nobody can decode", () => {
  it("is set aside once, however many try at once", async () => {
    await using nats = await startNats();
    await using bus = await openBus(nats.url);
    const tried = await Promise.all(Array.from({ length: 10 }, () => setAside(bus, message(7))));
    expect(tried.filter((outcome) => outcome === "stored")).toHaveLength(1);
    expect(tried.filter((outcome) => outcome === "was there")).toHaveLength(9);
    const manager = await jetstreamManager(bus.connection);
    expect((await manager.streams.info(DEAD)).state.messages).toBe(1);
  });

  it("is not said to be there when there was no room for it", async () => {
    await using nats = await startNats();
    await using bus = await openBus(nats.url);
    const manager = await jetstreamManager(bus.connection);
    await manager.streams.update(DEAD, { max_bytes: 2_000 });
    expect(await setAside(bus, message(1, 1_000))).toBe("stored");
    await expect(setAside(bus, message(2, 1_500))).rejects.toBeInstanceOf(JetStreamApiError);
    expect(await setAside(bus, message(1, 1_000))).toBe("was there");
  });

  it("is tried again until there is room, those behind it too", async () => {
    await using nats = await startNats();
    await using bus = await openBus(nats.url);
    const manager = await jetstreamManager(bus.connection);
    await manager.streams.update(DEAD, { max_bytes: 100 });
    using burial = new Burial(bus, pino({ level: "silent" }));
    for (const sequence of [1, 2]) burial.add(malformed(sequence), Buffer.from("{ no JSON"));
    const stored = async () => (await manager.streams.info(DEAD)).state.messages;
    expect(await stored()).toBe(0);
    await manager.streams.update(DEAD, { max_bytes: 10_000 });
    await vi.waitUntil(async () => (await stored()) === 2, { timeout: 20_000 });
  });
});
