import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { leaseTimes, readEnvironment } from "../../shared/config/environment.ts";
import { decodeHeartbeat, heartbeatSubject } from "../../shared/contracts/heartbeat.ts";
import { LEASE } from "../../shared/contracts/lease.ts";
import { heartbeat } from "../support/heartbeats.ts";

describe("the times of a lease", () => {
  it("are the ones that were argued for, unless told otherwise", () => {
    expect(leaseTimes(readEnvironment({}).MESH_LEASE_MS)).toEqual(LEASE);
  });

  it("can be told in a heartbeat, and leave the same margin, whatever lease is wanted", () => {
    fc.assert(
      fc.property(fc.integer({ min: 500, max: 600_000 }), (leaseMs) => {
        const times = leaseTimes(leaseMs);
        const said = JSON.stringify(heartbeat({ heartbeatMs: times.heartbeatMs }));
        const heard = decodeHeartbeat(heartbeatSubject.build({ hostId: "h1" }), Buffer.from(said));
        expect(heard?.heartbeat?.heartbeatMs).toBe(times.heartbeatMs);
        expect(Math.abs(times.marginMs - leaseMs / 4)).toBeLessThan(1);
        expect(Math.abs(times.heartbeatMs - leaseMs / 6)).toBeLessThan(1);
        expect(times.checkMs).toBeGreaterThan(0);
      }),
    );
  });
});
