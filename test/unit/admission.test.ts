// Whether a host takes one more attempt.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Admitted, countedOf, refusalOf } from "../../services/host-agent/held/admission.ts";
import { type DeployRequest, REQUEST_DEFAULTS } from "../../shared/contracts/deploy-request.ts";
import type { RunOrder } from "../../shared/contracts/order.ts";
import { capacity } from "../support/capacity.ts";
import { request } from "../support/facts.ts";

const GIB = 1_073_741_824;
const OLD_MS = 60_000;

const order = (overrides: Partial<DeployRequest> = {}): RunOrder => ({
  taskId: "t1",
  attempt: 1,
  after: 1,
  request: request(overrides),
});

const admitted = (overrides: Partial<Admitted> = {}): Admitted => ({
  memoryBytes: GIB,
  ageMs: OLD_MS,
  ...overrides,
});

const reasonOf = (...args: Parameters<typeof refusalOf>) => refusalOf(...args)?.reason ?? null;

describe("a host", () => {
  it("judges by what the order counts on, where that differs from what the request asks for", () => {
    const full = capacity();
    const beyond = { ...order({ resources: { memoryBytes: GIB } }), memoryBytes: full.memoryTotalBytes };
    expect(reasonOf(beyond, full, [])).toBe("memory");
    expect(countedOf(beyond).memoryBytes).toBe(full.memoryTotalBytes);
    expect(countedOf(order())).toEqual({
      memoryBytes: REQUEST_DEFAULTS.memoryBytes,
      cpus: REQUEST_DEFAULTS.cpus,
    });
  });

  it("takes what it has room for", () => {
    expect(refusalOf(order(), capacity(), [])).toBeNull();
    expect(refusalOf(order({ labels: { os: "linux" } }), capacity(), [admitted()])).toBeNull();
  });

  it("refuses while it drains", () => {
    expect(reasonOf(order(), capacity({ draining: true }), [])).toBe("draining");
  });

  it("refuses while its owner needs it, with the owner's reason", () => {
    const refused = refusalOf(order(), capacity({ withheld: "it runs on battery" }), []);
    expect(refused).toEqual({
      outcome: "refused",
      reason: "withheld",
      message: "this host begins no work: it runs on battery",
    });
  });

  it("takes work from forks only if it was told to", () => {
    expect(reasonOf(order({ fork: true }), capacity(), [])).toBe("policy");
    expect(refusalOf(order({ fork: true }), capacity({ takesStrangers: true }), [])).toBeNull();
  });

  it("refuses labels that it does not carry, and names the one", () => {
    const refused = refusalOf(order({ labels: { os: "linux", gpu: "yes" } }), capacity(), []);
    expect(refused).toMatchObject({ reason: "labels", message: expect.stringContaining("gpu=yes") });
    expect(reasonOf(order({ labels: { os: "windows" } }), capacity(), [])).toBe("labels");
  });

  it("refuses what its labels do not meet, and names the constraint", () => {
    const constraints = [
      { label: "os", operator: "in" as const, values: ["linux", "windows"] },
      { label: "version.node", operator: "!=" as const, values: ["24.0.0"] },
    ];
    const refused = refusalOf(order({ constraints }), capacity(), []);
    expect(refused).toMatchObject({
      reason: "labels",
      message: expect.stringContaining("version.node!=24.0.0"),
    });
    expect(refusalOf(order({ constraints }), capacity({ versions: {} }), [])).toBeNull();
  });

  it("refuses what it has no runner or no disk for", () => {
    expect(reasonOf(order({ run: { command: "true" } }), capacity({ runners: [] }), [])).toBe("runner");
    expect(reasonOf(order(), capacity({ diskFreeBytes: GIB - 1 }), [])).toBe("disk");
    expect(refusalOf(order(), capacity({ diskTotalBytes: GIB, diskFreeBytes: GIB / 10 }), [])).toBeNull();
  });

  it("gives no stranger's work to an agent that has its provider's key, though it takes that of others", () => {
    const able = capacity({ takesStrangers: true, runners: ["command", "claude-code", "codex"] });
    expect(reasonOf(order({ fork: true }), able, [])).toBeNull();
    expect(reasonOf(order({ fork: true, prompt: "Fix it" }), able, [])).toBeNull();
    expect(reasonOf(order({ fork: true, prompt: "Fix it", runner: "codex" }), able, [])).toBe("policy");
  });

  it("refuses more CPUs than it has, and one attempt more than it has slots", () => {
    expect(reasonOf(order({ resources: { cpus: 5 } }), capacity(), [])).toBe("cpu");
    expect(reasonOf(order(), capacity(), [admitted(), admitted()])).toBe("full");
  });

  it("counts what attempts asked for, whether they use it yet or not", () => {
    const wanted = order({ resources: { memoryBytes: 6 * GIB } });
    const idle = capacity({ slots: 4, memoryAvailableBytes: 16 * GIB });
    expect(refusalOf(wanted, idle, [admitted({ memoryBytes: 9 * GIB })])).toBeNull();
    expect(reasonOf(wanted, idle, [admitted({ memoryBytes: 10 * GIB })])).toBe("memory");
  });

  it("counts what others on the machine use, and for young attempts what they will use", () => {
    const wanted = order({ resources: { memoryBytes: 4 * GIB } });
    const busy = capacity({ memoryAvailableBytes: 5 * GIB });
    expect(refusalOf(wanted, busy, [admitted({ memoryBytes: 2 * GIB })])).toBeNull();
    expect(reasonOf(wanted, busy, [admitted({ memoryBytes: 2 * GIB, ageMs: 1_000 })])).toBe("memory");
  });

  it("says how much was asked for and how much is free, never less than nothing", () => {
    const refused = refusalOf(order(), capacity({ memoryAvailableBytes: 0 }), [admitted({ ageMs: 0 })]);
    expect(refused?.message).toMatch(/ MiB are asked for; 0 MiB are free$/);
  });

  it("never has more attempts than slots, nor more memory promised than it has, whatever it is asked", () => {
    const asked = fc.record({
      memoryBytes: fc.option(fc.integer({ min: 1, max: 20 * GIB }), { nil: undefined }),
      ends: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 8 }), fc.array(asked), (slots, orders) => {
        const running: Admitted[] = [];
        const host = capacity({ slots });
        for (const { memoryBytes, ends } of orders) {
          if (ends) running.shift();
          const resources = memoryBytes === undefined ? {} : { memoryBytes };
          if (refusalOf(order({ resources }), host, running) === null)
            running.push(admitted({ memoryBytes: memoryBytes ?? REQUEST_DEFAULTS.memoryBytes, ageMs: 0 }));
          expect(running.length).toBeLessThanOrEqual(slots);
          const promised = running.reduce((sum, one) => sum + one.memoryBytes, 0);
          expect(promised).toBeLessThanOrEqual(host.memoryTotalBytes);
        }
      }),
    );
  });
});
