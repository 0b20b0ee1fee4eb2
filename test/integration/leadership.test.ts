import { describe, expect, it, vi } from "vitest";
import { connectBus } from "../../shared/bus/connect.ts";
import { type Leadership, standForLeader } from "../../shared/bus/leadership.ts";
import { openBus } from "../support/bus.ts";
import { openLink } from "../support/link.ts";
import { startMortalNats, startNats } from "../support/nats.ts";

const DEADLINE = { timeout: 20_000, interval: 10 };
const ignore = () => {};

/** Waits until this one leads; fails if two ever do at once. */
async function untilLeads(wanted: Leadership, others: Leadership[]): Promise<void> {
  await vi.waitUntil(() => {
    expect([wanted, ...others].filter(({ leads }) => leads()).length).toBeLessThanOrEqual(1);
    return wanted.leads();
  }, DEADLINE);
}

describe("among several that stand for a role", () => {
  it("one leads, and when it steps down another is told so within seconds", async () => {
    await using nats = await startNats();
    await using bus = await openBus(nats.url);
    const told: string[] = [];
    const stand = (name: string) =>
      standForLeader(bus, "scheduler", name, (leads) => told.push(`${name} ${leads}`));
    const first = await stand("first");
    await using second = await stand("second");
    await using otherRole = await standForLeader(bus, "status-tracker", "second", ignore);
    expect([first, second, otherRole].map(({ leads }) => leads())).toEqual([true, false, true]);
    expect(told).toEqual(["first true"]);
    await first[Symbol.asyncDispose]();
    expect(first.leads()).toBe(false);
    await untilLeads(second, [first]);
    expect(told).toEqual(["first true", "second true"]);
  });

  it("the leader that is cut off ceases before another one leads, and stands back when it returns", async () => {
    await using nats = await startNats();
    await using link = await openLink(nats.port);
    await using bus = await openBus(nats.url);
    await using cutOff = await connectBus({ url: `nats://127.0.0.1:${link.port}`, name: "cut off" });
    const changes: boolean[] = [];
    await using first = await standForLeader(cutOff, "scheduler", "first", (leads) => changes.push(leads));
    await using second = await standForLeader(bus, "scheduler", "second", ignore);
    expect(first.leads()).toBe(true);
    link.cut("both");
    await untilLeads(second, [first]);
    link.mend();
    await vi.waitUntil(() => cutOff.connectedSince() !== null && changes.includes(false), DEADLINE);
    expect([first, second].map(({ leads }) => leads())).toEqual([false, true]);
    expect(changes).toEqual([true, false]);
  });

  it.each([
    ["with its data", false],
    ["without its data", true],
  ])("one leads again after the server was killed and came back %s", async (_, empty) => {
    await using nats = await startMortalNats();
    await using bus = await openBus(nats.url);
    await using first = await standForLeader(bus, "scheduler", "first", ignore);
    await using second = await standForLeader(bus, "scheduler", "second", ignore);
    await nats.kill();
    await vi.waitUntil(() => !first.leads() && !second.leads(), DEADLINE);
    await nats.start({ empty });
    await vi.waitUntil(() => first.leads() !== second.leads(), DEADLINE);
    expect(first.leads()).not.toBe(second.leads());
  });
});
