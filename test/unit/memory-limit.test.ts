// What attempts may have of memory where they share a virtual machine.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { limitRefusalOf, memoryLimitOf } from "../../services/host-agent/held/memory-limit.ts";
import { REQUEST_DEFAULTS } from "../../shared/contracts/deploy-request.ts";

const GIB = 1_073_741_824;
const named = (gib: number) => ({ limits: { memoryBytes: gib * GIB } });

describe("an attempt's memory limit", () => {
  it("is what its request says, else the default", () => {
    expect(memoryLimitOf(named(9), undefined)).toBe(9 * GIB);
    expect(memoryLimitOf({}, undefined)).toBe(REQUEST_DEFAULTS.memoryLimitBytes);
    expect(memoryLimitOf({}, 64 * GIB)).toBe(REQUEST_DEFAULTS.memoryLimitBytes);
  });

  it("is all that a small virtual machine has to give where the request names none", () => {
    expect(memoryLimitOf({}, 4 * GIB)).toBe(3 * GIB);
    expect(limitRefusalOf(3 * GIB, [], 4 * GIB)).toBeNull();
    expect(memoryLimitOf(named(9), 4 * GIB)).toBe(9 * GIB);
    expect(limitRefusalOf(9 * GIB, [], 4 * GIB)).toMatchObject({
      reason: "memory",
      message: "memory limits would come to 9216 MiB; the virtual machine has 3072 MiB for them",
    });
  });

  it("is no matter of others on a machine that is no virtual one", () => {
    expect(limitRefusalOf(90 * GIB, [{ memoryLimitBytes: 90 * GIB }], undefined)).toBeNull();
  });

  it("is no question before the virtual machine has told of its memory", () => {
    expect(memoryLimitOf({}, null)).toBe(REQUEST_DEFAULTS.memoryLimitBytes);
    expect(limitRefusalOf(1, [], null)).toMatchObject({ reason: "not-ready" });
  });

  it("leaves a virtual machine its own, whatever is asked of it in whatever order", () => {
    const requests = fc.array(fc.oneof(fc.constant({}), fc.integer({ min: 1, max: 12 }).map(named)));
    fc.assert(
      fc.property(fc.double({ min: 0.1, max: 40, noNaN: true }), requests, (gib, asked) => {
        const vmMemoryBytes = gib * GIB;
        const atWork: { memoryLimitBytes: number }[] = [];
        for (const request of asked) {
          const memoryLimitBytes = memoryLimitOf(request, vmMemoryBytes);
          if (limitRefusalOf(memoryLimitBytes, atWork, vmMemoryBytes) !== null) continue;
          expect(memoryLimitBytes).toBeGreaterThan(0);
          atWork.push({ memoryLimitBytes });
        }
        const sum = atWork.reduce((total, one) => total + one.memoryLimitBytes, 0);
        expect(sum).toBeLessThanOrEqual(Math.max(0, vmMemoryBytes - GIB));
      }),
    );
  });
});
