// Until when what runs may act: the rules of the lease, on clocks that a test moves.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Lease, type Stamp } from "../../services/host-agent/guest/lease.ts";

const LEASE_MS = 12_000;

/** All clocks agree, unless the test says otherwise. */
const at = (ms: number, overrides: Partial<Stamp> = {}): Stamp => ({
  monotonicMs: ms,
  wallMs: 1_700_000_000_000 + ms,
  uptimeMs: 500_000 + ms,
  ...overrides,
});

const lease = () => new Lease(LEASE_MS, "s");

describe("a lease", () => {
  it("does not hold before a stamp has come back", () => {
    const one = lease();
    expect(one.look(at(0))).toBeNull();
    expect(one.remainingMs(at(0))).toBe(0);
  });

  it("ends a fixed time after the stamp was taken, however late that came back", () => {
    const one = lease();
    one.renew(at(1_000), at(9_000));
    expect(one.look(at(1_000 + LEASE_MS))).toBe("s.1");
    expect(one.remainingMs(at(1_000 + LEASE_MS - 400))).toBe(400);
    expect(one.look(at(1_001 + LEASE_MS))).toBeNull();
    expect(one.remainingMs(at(1_001 + LEASE_MS))).toBe(0);
  });

  it("does not begin with a stamp that is too old already", () => {
    const one = lease();
    one.renew(at(0), at(LEASE_MS + 1));
    expect(one.look(at(LEASE_MS + 1))).toBeNull();
  });

  it("is one stretch for as long as stamps come back in time, and another after a gap", () => {
    const one = lease();
    one.renew(at(0), at(100));
    one.renew(at(10_000), at(10_100));
    expect(one.look(at(20_000))).toBe("s.1");
    one.renew(at(30_000), at(30_100));
    expect(one.look(at(30_200))).toBe("s.2");
  });

  it("notices a gap that nobody looked at", () => {
    const one = lease();
    one.renew(at(0), at(100));
    one.renew(at(20_000), at(20_100));
    expect(one.look(at(20_100))).toBe("s.2");
  });

  it("is not set back by an older stamp that overtook nothing", () => {
    const one = lease();
    one.renew(at(8_000), at(8_100));
    one.renew(at(2_000), at(8_200));
    expect(one.look(at(8_000 + LEASE_MS))).toBe("s.1");
  });

  it.each([
    ["the wall clock", { monotonicMs: 0, uptimeMs: null }],
    ["the clock that counts sleep", { monotonicMs: 0, wallMs: at(0).wallMs }],
    ["the monotonic clock", { wallMs: at(0).wallMs, uptimeMs: at(0).uptimeMs }],
  ])("ends when %s alone says so", (_, others: Partial<Stamp>) => {
    const one = lease();
    const begun = others.uptimeMs === null ? at(0, { uptimeMs: null }) : at(0);
    one.renew(begun, begun);
    expect(one.look(at(LEASE_MS + 1, others))).toBeNull();
  });

  it("lasts no longer for a wall clock that was set back", () => {
    const one = lease();
    one.renew(at(0), at(0));
    expect(one.look(at(LEASE_MS + 1, { wallMs: 0 }))).toBeNull();
  });

  it("that was given up begins again only with a stamp taken afterwards, and under another name", () => {
    const one = lease();
    one.renew(at(0), at(100));
    one.lapse(at(1_000));
    expect(one.look(at(1_000))).toBeNull();
    one.renew(at(999), at(1_100));
    expect(one.look(at(1_100))).toBeNull();
    one.renew(at(1_200), at(1_300));
    expect(one.look(at(1_300))).toBe("s.2");
  });

  it("never holds beyond its length after the latest stamp, and never gives a name twice, whatever happens", () => {
    const step = fc.record({
      passMs: fc.integer({ min: 0, max: 15_000 }),
      sleepMs: fc.constantFrom(0, 0, 0, 5_000, 20_000),
      act: fc.constantFrom("look", "renew", "renew", "lapse"),
      /** How long ago the stamp that comes back was taken. */
      ageMs: fc.integer({ min: 0, max: 15_000 }),
    });
    fc.assert(
      fc.property(fc.array(step), (steps) => {
        const one = lease();
        const stamps: { real: number; stamp: Stamp }[] = [];
        const ended = new Set<string>();
        let [real, awake] = [0, 0];
        let [latest, lapsedAt] = [Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY];
        let current: string | null = null;
        const now = () => at(awake, { wallMs: 0, uptimeMs: real });
        for (const { passMs, sleepMs, act, ageMs } of steps) {
          awake += passMs;
          real += passMs + sleepMs;
          stamps.push({ real, stamp: now() });
          if (act === "lapse") {
            one.lapse(now());
            [latest, lapsedAt] = [Number.NEGATIVE_INFINITY, real];
          }
          if (act === "renew") {
            const back = stamps.findLast((taken) => taken.real <= real - ageMs);
            if (back !== undefined) {
              one.renew(back.stamp, now());
              if (back.real >= lapsedAt) latest = Math.max(latest, back.real);
            }
          }
          const stretch = one.look(now());
          if (stretch !== null) expect(real - latest).toBeLessThanOrEqual(LEASE_MS);
          if (stretch !== current && current !== null) ended.add(current);
          if (stretch !== null) expect(ended.has(stretch)).toBe(false);
          current = stretch;
        }
      }),
    );
  });
});
