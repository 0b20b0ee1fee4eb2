// Which low attempts give way to an urgent task.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { refusal } from "../../services/scheduler/feasible.ts";
import { sacrifice } from "../../services/scheduler/preemption.ts";
import { fleetOf, GIB, queued, reservation, situation } from "../support/placement.ts";

const urgent = queued({ priority: "high", memoryBytes: 2 * GIB });
const low = (startedAtMs: number, memoryBytes = GIB) =>
  reservation({ priority: "low", startedAtMs, memoryBytes });
const chosen = (hosts: Parameters<typeof fleetOf>[0], now = situation({ brokerNowMs: 1_000 })) =>
  sacrifice(urgent, fleetOf(hosts).regard(urgent, now.nowMs), now);

describe("an urgent task that finds no room", () => {
  it("has the low attempt stopped that loses the least work", () => {
    expect(chosen({ a: { runs: [low(0), low(800)] }, b: { runs: [low(500), low(600)] } })).toMatchObject({
      hostId: "a",
      stops: [{ taskId: "a-1", attempt: 1, reason: "preempted" }],
    });
  });

  it("has as many stopped as it takes, on one host", () => {
    const memory = { totalBytes: 8 * GIB, availableBytes: 3.2 * GIB };
    const slots = { total: 4, free: 1 };
    expect(chosen({ a: { memory, slots, runs: [low(0), low(1), low(2)] } })?.stops).toHaveLength(2);
  });

  it("stops nothing where it fits, or where room would not help, or on a host that makes room already", () => {
    const full = { runs: [low(0), low(1)] };
    expect(chosen({ full, idle: {} })).toBeNull();
    expect(chosen({ full: { ...full, draining: true } })).toBeNull();
    const fleet = fleetOf({ full });
    fleet.hold("full", "other", 10);
    expect(sacrifice(urgent, fleet.regard(urgent, 0), situation())).toBeNull();
    expect(sacrifice(urgent, fleet.regard(urgent, 10), situation({ nowMs: 10 }))).not.toBeNull();
  });

  it("stops no other than low attempts, and none that was stopped twice", () => {
    expect(chosen({ a: { runs: [reservation(), reservation({ priority: "high" })] } })).toBeNull();
    const stopped = { ...low(0), preempted: 2 };
    expect(chosen({ a: { runs: [stopped, stopped] } })).toBeNull();
  });

  it("fits on the host once what was chosen is gone", () => {
    const anyRun = fc.record({
      priority: fc.constantFrom("low", "normal", "high"),
      memoryBytes: fc.integer({ min: 1, max: 3 }).map((gib) => gib * GIB),
      startedAtMs: fc.nat(900),
    });
    const anyHost = fc.record({
      runs: fc.array(anyRun, { maxLength: 4 }),
      slots: fc.integer({ min: 1, max: 4 }).map((total) => ({ total, free: total })),
    });
    fc.assert(
      fc.property(fc.array(anyHost, { minLength: 1, maxLength: 4 }), (drafts) => {
        const fleet = fleetOf(Object.fromEntries(drafts.map((draft, index) => [`h${index}`, draft])));
        const now = situation({ brokerNowMs: 1_000 });
        const found = sacrifice(urgent, fleet.regard(urgent, 0), now);
        if (found === null) return;
        for (const { taskId } of found.stops) {
          expect(fleet.hosts.get(found.hostId)?.reservations.get(taskId)?.priority).toBe("low");
          fleet.release(found.hostId, taskId);
        }
        const host = fleet.hosts.get(found.hostId);
        expect(host && refusal(urgent, host, now)).toBeNull();
      }),
    );
  });
});

it("a host that makes room is given nothing else meanwhile", () => {
  const fleet = fleetOf({ a: {} });
  fleet.hold("a", "t1", 10);
  const [host] = fleet.regard(urgent, 0);
  expect(host && refusal(queued({ taskId: "t2" }), host, situation())).toBe("held");
  expect(host && refusal(urgent, host, situation())).toBeNull();
  fleet.hold("a", "t2", 0);
  expect(host && refusal(queued({ taskId: "t2" }), host, situation())).toBe("held");
  fleet.reserve("a", "t1", reservation());
  expect(host && refusal(queued({ taskId: "t2" }), host, situation())).toBeNull();
});
