import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { refusalOf } from "../../services/host-agent/held/admission.ts";
import { refusal } from "../../services/scheduler/feasible.ts";
import type { Fleet } from "../../services/scheduler/fleet.ts";
import { inWords, place } from "../../services/scheduler/placement.ts";
import type { QueueEntry } from "../../services/scheduler/queue-entry.ts";
import { DEFAULT_SETTINGS } from "../../shared/config/settings.ts";
import type { Constraint } from "../../shared/contracts/constraint.ts";
import { capacity } from "../support/capacity.ts";
import { request } from "../support/facts.ts";
import { heartbeat } from "../support/heartbeats.ts";
import { fleetOf, GIB, queued, reservation, situation } from "../support/placement.ts";

const gpu: Constraint = { label: "gpu", operator: "=", values: ["yes"] };

describe("a host is refused", () => {
  const refused = (
    task: Partial<QueueEntry>,
    host: Parameters<typeof fleetOf>[0][string],
    overrides: Parameters<typeof situation>[0] = {},
  ) =>
    fleetOf({ h1: host })
      .regard(queued(), overrides.nowMs ?? 0)
      .map((one) => refusal(queued(task), one, situation(overrides)))[0];

  it("for nothing when it has room", () => expect(refused({}, {})).toBeNull());
  it("when it has been silent for too long", () =>
    expect(refused({}, {}, { nowMs: 15_001 })).toBe("offline"));
  it("when it is draining", () => expect(refused({}, { draining: true })).toBe("draining"));
  it("when the work is a stranger's", () => expect(refused({ fork: true }, {})).toBe("untrusted"));
  it("not when it takes strangers' work and keeps it apart", () => {
    expect(refused({ fork: true }, { untrusted: true })).toBeNull();
    for (const isolation of ["namespaces", "process-group", "none"])
      expect(refused({ fork: true }, { untrusted: true, isolation })).toBe("untrusted");
  });
  it("when it has not what runs it", () =>
    expect(refused({ runner: "claude-code" }, { runners: ["command"] })).toBe("runner"));
  it("when it lacks a label", () => expect(refused({ constraints: [gpu] }, {})).toBe("labels"));
  it("not when it carries the label", () =>
    expect(refused({ constraints: [gpu] }, { labels: { gpu: "yes" } })).toBeNull());
  it("when it has no runner for it", () => expect(refused({}, { runners: [] })).toBe("runner"));
  it("when its disk is nearly full", () =>
    expect(refused({}, { disk: { totalBytes: 100 * GIB, freeBytes: GIB / 2 } })).toBe("disk"));
  it("when its slots are taken", () => expect(refused({}, { runs: [{}, {}] })).toBe("slots"));
  it("when what young attempts will still take leaves too little memory", () => {
    const young = { runs: [{ memoryBytes: 7.5 * GIB }] };
    expect(refused({}, young)).toBe("memory");
  });
  it("when it refused a moment ago", () =>
    expect(refused({}, { avoidUntilMs: 5 }, { nowMs: 1 })).toBe("avoided"));
  it("when its breaker is open", () => expect(refused({}, {}, { barred: new Set(["h1"]) })).toBe("breaker"));
});

describe("a fleet", () => {
  it("has the sums of what runs on each host, whatever began, ended or grew old in any order", () => {
    const anyStep = fc.record({
      host: fc.nat(2),
      task: fc.nat(5),
      begins: fc.boolean(),
      repository: fc.constantFrom("a", "b"),
      passMs: fc.nat(30_000),
    });
    fc.assert(
      fc.property(fc.array(anyStep, { maxLength: 60 }), (steps) => {
        const fleet = fleetOf({ h0: {}, h1: {}, h2: {} });
        let nowMs = 0;
        for (const { host, task, begins, repository, passMs } of steps) {
          nowMs += passMs;
          const footprint = reservation({ memoryBytes: task + 1, repository, sinceMs: nowMs });
          if (begins) fleet.reserve(`h${host}`, `t${task}`, footprint);
          else fleet.release(`h${host}`, `t${task}`);
          for (const { reserved, young, reservations, same, running } of fleet.regard(
            { repository, cacheKey: "" },
            nowMs,
          )) {
            const all = [...reservations.values()];
            const sum = (of: typeof all) => of.reduce((bytes, { memoryBytes }) => bytes + memoryBytes, 0);
            expect(reserved.memoryBytes).toBe(sum(all));
            expect(young.memoryBytes).toBe(sum(all.filter(({ sinceMs }) => nowMs - sinceMs < 45_000)));
            expect(running).toBe(all.length);
            expect(same).toBe(all.filter((one) => one.repository === repository).length);
          }
        }
      }),
    );
  });
});

it("a fleet knows who keeps a clone now, whatever heartbeats said before", () => {
  const keys = fc.uniqueArray(fc.constantFrom("a", "b", "c"));
  fc.assert(
    fc.property(
      fc.array(fc.record({ host: fc.nat(2), caches: keys, key: fc.constantFrom("a", "b", "c") })),
      (steps) => {
        const fleet = fleetOf({});
        for (const { host, caches, key } of steps) {
          fleet.hear(heartbeat({ hostId: `h${host}`, caches }), 0);
          for (const { warm, heartbeat: said } of fleet.regard({ repository: "", cacheKey: key }, 0))
            expect(warm).toBe(said.caches.includes(key) ? 1 : 0);
        }
      },
    ),
  );
});

describe("placement", () => {
  const placed = (task: QueueEntry, fleet: Fleet, now = situation()) => {
    const placement = place(task, fleet, now);
    return { ...placement, hostId: placement.host?.id ?? null, words: inWords(placement, now.policy) };
  };

  it("takes the host with the most room", () => {
    const fleet = fleetOf({ busy: { runs: [{ memoryBytes: 4 * GIB, cpus: 2 }] }, idle: {} });
    expect(placed(queued(), fleet)).toMatchObject({ hostId: "idle", feasible: 2 });
  });

  it("spreads equal tasks over equal hosts, by its own reservations alone", () => {
    const roomy = {
      slots: { total: 4, free: 4 },
      memory: { totalBytes: 64 * GIB, availableBytes: 60 * GIB },
    };
    const fleet = fleetOf({ a: roomy, b: roomy, c: roomy });
    for (let number = 0; number < 9; number++) {
      const { hostId } = placed(queued({ taskId: `t${number}` }), fleet);
      fleet.reserve(hostId ?? "", `t${number}`, reservation(queued()));
    }
    expect([...fleet.hosts.values()].map(({ running }) => running)).toEqual([3, 3, 3]);
  });

  it("prefers for a while another host than the one where an attempt failed, and takes that one for want of another", () => {
    const drafts = { roomy: { cpu: { cores: 64, busy: 0, mhz: 0 } }, other: {} };
    const both = fleetOf(drafts);
    const failed = queued({ failedAtMs: new Map([["roomy", 1_000]]) });
    const at = (brokerNowMs: number, fleet: Fleet) => placed(failed, fleet, situation({ brokerNowMs }));
    expect(at(2_000, both)).toMatchObject({ hostId: "other", feasible: 2, penalized: ["roomy"] });
    const reversed = fleetOf({ other: drafts.other, roomy: drafts.roomy });
    expect(at(2_000, reversed)).toMatchObject({ hostId: "other" });
    expect(at(2_000, both).words).toMatch(/^other is .*, not counting roomy, where an attempt of the task/);
    const only = fleetOf({ roomy: drafts.roomy });
    expect(at(2_000, only)).toMatchObject({ hostId: "roomy", penalized: ["roomy"] });
    expect(at(2_000, only).words).toMatch(/, though an attempt of the task has failed there$/);
    expect(at(601_000, both)).toMatchObject({ hostId: "roomy", penalized: [] });
  });

  it("says how many hosts failed which check", () => {
    const fleet = fleetOf({ a: {}, b: {}, c: { draining: true } });
    expect(placed(queued({ constraints: [gpu] }), fleet)).toMatchObject({
      hostId: null,
      words: "3 hosts: 1 draining, 2 lack a label",
    });
    expect(placed(queued(), fleetOf({})).words).toBe("no host has joined the mesh");
  });

  it("never takes a host that is not feasible, nor leaves one that is, by any policy", () => {
    // Most would take it but for one reason, so that each reason is seen.
    const mostly = <Value>(usual: Value, other: fc.Arbitrary<Value>) =>
      fc.oneof({ weight: 7, arbitrary: fc.constant(usual) }, { weight: 1, arbitrary: other });
    const anyHost = fc
      .record({
        free: mostly(8, fc.nat(8)),
        slots: mostly(5, fc.integer({ min: 1, max: 3 })),
        taken: fc.nat(4),
        age: mostly(0, fc.nat(30_000)),
        cores: mostly(2, fc.constant(1)),
        draining: mostly(false, fc.constant(true)),
        runners: mostly(["command", "codex"], fc.subarray(["command", "codex"])),
        freeDisk: mostly(1e12, fc.constant(0)),
        avoidUntilMs: mostly(0, fc.constant(1)),
        heldFor: mostly<string | null>(null, fc.constantFrom("t1", "t2")),
      })
      .map(({ free, slots, taken, age, cores, freeDisk, ...others }) => ({
        ...others,
        cpu: { cores, busy: 0, mhz: 0 },
        disk: { totalBytes: 1e12, freeBytes: freeDisk },
        memory: { totalBytes: 8 * GIB, availableBytes: free * GIB },
        slots: { total: slots, free: slots },
        heardAtMs: -age,
        runs: Array.from({ length: taken }, () => ({})),
      }));
    const anyPolicy = fc.constantFrom(
      ...(["resource", "round-robin", "least-connections", "weighted", "power-of-two"] as const),
    );
    const anyTask = fc
      .record({
        cpus: fc.constantFrom(1, 2),
        runner: fc.constantFrom(null, "command", "codex", "claude-code"),
        fork: mostly(false, fc.constant(true)),
      })
      .map((wants) => queued(wants));
    fc.assert(
      fc.property(
        fc.array(anyHost, { maxLength: 8 }),
        anyTask,
        anyPolicy,
        fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        (machines, task, policy, chance) => {
          const fleet = fleetOf(Object.fromEntries(machines.map((machine, index) => [`h${index}`, machine])));
          for (const [index, { heldFor }] of machines.entries())
            if (heldFor !== null) fleet.hold(`h${index}`, heldFor, 1);
          const now = situation({ policy, random: () => chance });
          const { hostId, feasible } = placed(task, fleet, now);
          const possible = [...fleet.hosts.values()]
            .filter((one) => refusal(task, one, now) === null)
            .map(({ id }) => id);
          expect(feasible).toBe(possible.length);
          if (hostId === null) expect(possible).toEqual([]);
          else expect(possible).toContain(hostId);
        },
      ),
    );
  });
});

describe("the policy", () => {
  const chosen = (
    policy: Parameters<typeof situation>[0] & object,
    drafts: Parameters<typeof fleetOf>[0],
    tasks = 1,
  ) => {
    const fleet = fleetOf(drafts);
    return Array.from({ length: tasks }, (_, number) => {
      const { host } = place(queued({ taskId: `t${number}` }), fleet, situation(policy));
      fleet.reserve(host?.id ?? "", `t${number}`, reservation(queued()));
      return host?.id;
    });
  };
  const many = { slots: { total: 8, free: 8 }, memory: { totalBytes: 64 * GIB, availableBytes: 64 * GIB } };

  it("round-robin takes one host after the other, and first a new one", () => {
    expect(chosen({ policy: "round-robin" }, { a: { ...many, runs: [{}] }, b: many, c: many }, 5)).toEqual([
      "b",
      "c",
      "a",
      "b",
      "c",
    ]);
  });

  it("least-connections takes the host with the fewest attempts", () => {
    const drafts = { a: { ...many, runs: [{}, {}] }, b: { ...many, runs: [{}] } };
    expect(chosen({ policy: "least-connections" }, drafts, 2)).toEqual(["b", "a"]);
  });

  it("weighted gives each host its part by its label, or else by its slots", () => {
    const drafts = { a: { ...many, labels: { weight: "3" } }, b: { ...many, slots: { total: 1, free: 1 } } };
    expect(chosen({ policy: "weighted" }, drafts, 4)).toEqual(["a", "a", "a", "b"]);
  });

  it("power-of-two takes the better of two hosts that chance has drawn", () => {
    const busy = (gib: number) => ({ ...many, runs: [{ memoryBytes: gib * GIB }] });
    const drafts = { busy: busy(40), idle: many, busier: busy(50) };
    const drawn = (...draws: number[]) =>
      chosen({ policy: "power-of-two", random: () => draws.shift() ?? 0 }, drafts);
    expect(drawn(0, 0)).toEqual(["idle"]);
    expect(drawn(0.5, 0)).toEqual(["idle"]);
    expect(drawn(0.99, 0)).toEqual(["busy"]);
    expect(drawn(0.99, 0.99)).toEqual(["idle"]);
  });

  it("resource keeps room for what young attempts and the task may use besides, and then looks at the cores", () => {
    const cores = (busy: number) => ({ cores: 8, busy, mhz: 0 });
    const memory = (gib: number) => ({ totalBytes: 64 * GIB, availableBytes: gib * GIB });
    // Beyond that, twice the memory does not make up for cores that are taken.
    const roomy = {
      idle: { ...many, memory: memory(30) },
      busy: { ...many, memory: memory(60), cpu: cores(0.9) },
    };
    expect(chosen({}, roomy)).toEqual(["idle"]);
    // Within it, it does: 1 GiB is asked for, and half of that and of what the owner may add are missing on `idle`.
    const tight = {
      idle: { ...many, memory: memory(2) },
      busy: { ...many, memory: memory(8), cpu: cores(0.9) },
    };
    expect(chosen({}, tight)).toEqual(["busy"]);
  });

  it("resource counts what the operator says it does", () => {
    const drafts = {
      memory: { ...many, cpu: { cores: 8, busy: 0.8, mhz: 0 } },
      cpu: { ...many, memory: { totalBytes: 64 * GIB, availableBytes: 20 * GIB } },
    };
    const weights = DEFAULT_SETTINGS["placement.weights"];
    expect(chosen({ weights: { ...weights, memory: 1, cpu: 0 } }, drafts)).toEqual(["memory"]);
    expect(chosen({ weights: { ...weights, memory: 0, cpu: 1 } }, drafts)).toEqual(["cpu"]);
  });

  it("resource prefers a host that keeps the repository's clone, a faster one, and one that runs less of it", () => {
    expect(chosen({}, { a: many, b: { ...many, caches: ["another", "shop"] } })).toEqual(["b"]);
    const busy = (mhz: number) => ({ ...many, cpu: { cores: 8, busy: 0.1, mhz } });
    expect(chosen({}, { a: busy(2_000), b: busy(4_000) })).toEqual(["b"]);
    const runs = (repository: string) => ({ ...many, runs: [{ repository }] });
    expect(chosen({}, { a: runs("acme/shop"), b: runs("acme/other") })).toEqual(["b"]);
  });

  it("resource never prefers of two hosts that are alike the one with less memory free", () => {
    const free = fc.integer({ min: 0, max: 63 });
    fc.assert(
      fc.property(fc.array(free, { minLength: 2, maxLength: 6 }), (gibs) => {
        const fleet = fleetOf(
          Object.fromEntries(
            gibs.map((gib, index) => [
              `h${index}`,
              { ...many, memory: { totalBytes: 64 * GIB, availableBytes: gib * GIB } },
            ]),
          ),
        );
        const { host } = place(queued(), fleet, situation());
        if (host === null) expect(Math.max(...gibs)).toBe(0);
        else
          expect(host.freeBytes).toBe(
            Math.max(...[...fleet.hosts.values()].map(({ freeBytes }) => freeBytes)),
          );
      }),
    );
  });
});

describe("admission at the host", () => {
  const order = (overrides = {}) => ({ taskId: "t1", attempt: 1, after: 1, request: request(overrides) });

  it("never admits more than it has slots or memory for, in any order of requests", () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 5 }), { maxLength: 10 }),
        fc.integer({ min: 1, max: 4 }),
        (asks, slots) => {
          const admitted: { memoryBytes: number; ageMs: number }[] = [];
          for (const gib of asks)
            if (
              refusalOf(
                order({ resources: { memoryBytes: gib * GIB } }),
                capacity({ slots, memoryTotalBytes: 8 * GIB, memoryAvailableBytes: 6 * GIB }),
                admitted,
              ) === null
            )
              admitted.push({ memoryBytes: gib * GIB, ageMs: 0 });
          expect(admitted.length).toBeLessThanOrEqual(slots);
          expect(admitted.reduce((sum, { memoryBytes }) => sum + memoryBytes, 0)).toBeLessThanOrEqual(
            6 * GIB,
          );
        },
      ),
    );
  });

  it.each([
    [{ draining: true }, {}, "draining"],
    [{}, { fork: true }, "policy"],
    [{}, { labels: { os: "windows" } }, "labels"],
    [{}, { prompt: "Fix it" }, "runner"],
    [{}, { resources: { cpus: 5 } }, "cpu"],
    [{}, { resources: { memoryBytes: 17 * GIB } }, "memory"],
  ] as const)("refuses with its reason: %o %o", (state, asked, reason) => {
    expect(refusalOf(order(asked), capacity(state), [])).toMatchObject({ outcome: "refused", reason });
  });
});
