import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Capacity, refusalOf } from "../../services/host-agent/admission.ts";
import { refusal } from "../../services/scheduler/feasible.ts";
import { Fleet, type FleetHost } from "../../services/scheduler/fleet.ts";
import { inWords, place } from "../../services/scheduler/placement.ts";
import { Queue, type QueueEntry } from "../../services/scheduler/queue.ts";
import { request } from "../support/facts.ts";
import { heartbeat } from "../support/heartbeats.ts";

const GIB = 1_073_741_824;
const LOG = { brokerNowMs: 0, isBarred: () => false };
const TIMES = { silenceMs: 15_000, memoryRampMs: 45_000 };

const entry = (overrides: Partial<QueueEntry> = {}): QueueEntry => ({
  taskId: "t1",
  priority: "normal",
  sequence: 1,
  after: 1,
  attempt: 1,
  repository: "acme/shop",
  labels: null,
  fork: false,
  memoryBytes: GIB,
  cpus: 1,
  failedAtMs: null,
  asked: null,
  notBeforeMs: 0,
  removed: false,
  ...overrides,
});

const host = (overrides: Partial<FleetHost> = {}): FleetHost => ({
  heartbeat: heartbeat(),
  heardAtMs: 0,
  reservations: new Map(),
  avoidUntilMs: 0,
  wish: null,
  ...overrides,
});

describe("a host is refused", () => {
  const refused = (task: Partial<QueueEntry>, machine: Partial<FleetHost>, nowMs = 0) =>
    refusal(entry(task), host(machine), nowMs, TIMES);

  it("for nothing when it has room", () => expect(refused({}, {})).toBeNull());
  it("when it has been silent for too long", () => expect(refused({}, {}, 15_001)).toBe("offline"));
  it("when it is draining", () =>
    expect(refused({}, { heartbeat: heartbeat({ draining: true }) })).toBe("draining"));
  it("when the work is a stranger's", () => expect(refused({ fork: true }, {})).toBe("untrusted"));
  it("when it lacks a label", () => expect(refused({ labels: { gpu: "yes" } }, {})).toBe("labels"));
  it("not when it carries the label", () =>
    expect(
      refused({ labels: { gpu: "yes" } }, { heartbeat: heartbeat({ labels: { gpu: "yes" } }) }),
    ).toBeNull());
  it("when its slots are taken", () =>
    expect(
      refused(
        {},
        {
          reservations: new Map([
            ["a", tiny],
            ["b", tiny],
          ]),
        },
      ),
    ).toBe("slots"));
  it("when what young attempts will still take leaves too little memory", () => {
    const reservations = new Map([["a", { memoryBytes: 7.5 * GIB, cpus: 1, sinceMs: 0 }]]);
    expect(refused({}, { reservations })).toBe("memory");
  });
  it("when it refused a moment ago", () => expect(refused({}, { avoidUntilMs: 5 }, 1)).toBe("avoided"));
});

const tiny = { memoryBytes: 1, cpus: 1, sinceMs: 0 };

describe("placement", () => {
  const hosts = (many: Record<string, FleetHost>) => Object.entries(many);

  it("takes the host with the most room", () => {
    const busy = host({ reservations: new Map([["a", { memoryBytes: 4 * GIB, cpus: 2, sinceMs: 0 }]]) });
    expect(place(entry(), hosts({ busy, idle: host() }), 0, TIMES, LOG)).toMatchObject({
      hostId: "idle",
      feasible: 2,
    });
  });

  it("spreads equal tasks over equal hosts, by its own reservations alone", () => {
    const fleet = new Fleet();
    for (const id of ["a", "b", "c"])
      fleet.hear(
        heartbeat({
          hostId: id,
          slots: { total: 4, free: 4 },
          memory: { totalBytes: 64 * GIB, availableBytes: 60 * GIB },
        }),
        0,
      );
    for (let number = 0; number < 9; number++) {
      const { hostId } = place(entry({ taskId: `t${number}` }), fleet.hosts, 0, TIMES, LOG);
      fleet.reserve(hostId ?? "", `t${number}`, { memoryBytes: GIB, cpus: 1, sinceMs: 0 });
    }
    expect([...fleet.hosts.values()].map(({ reservations }) => reservations.size)).toEqual([3, 3, 3]);
  });

  it("prefers for a while another host than the one where an attempt failed, and takes that one for want of another", () => {
    const roomy = host({ heartbeat: heartbeat({ cpu: { cores: 64, busy: 0 } }) });
    const failed = entry({ failedAtMs: new Map([["roomy", 1_000]]) });
    const both = hosts({ roomy, other: host() });
    const at = (nowMs: number, machines: typeof both) =>
      place(failed, machines, 0, TIMES, { ...LOG, brokerNowMs: nowMs });
    expect(at(2_000, both)).toMatchObject({ hostId: "other", feasible: 2, penalized: ["roomy"] });
    expect(at(2_000, both.toReversed())).toMatchObject({ hostId: "other" });
    expect(inWords(at(2_000, both))).toMatch(
      /^other has .*, not counting roomy, where an attempt of the task/,
    );
    expect(at(2_000, hosts({ roomy }))).toMatchObject({ hostId: "roomy", penalized: ["roomy"] });
    expect(inWords(at(2_000, hosts({ roomy })))).toMatch(/, though an attempt of the task has failed there$/);
    expect(at(601_000, both)).toMatchObject({ hostId: "roomy", penalized: [] });
  });

  it("says how many hosts failed which check", () => {
    const placement = place(
      entry({ labels: { gpu: "yes" } }),
      hosts({ a: host(), b: host(), c: host({ heartbeat: heartbeat({ draining: true }) }) }),
      0,
      TIMES,
      LOG,
    );
    expect(placement.hostId).toBeNull();
    expect(inWords(placement)).toBe("3 hosts: 1 draining, 2 lack a label");
    expect(inWords(place(entry(), [], 0, TIMES, LOG))).toBe("no host has joined the mesh");
  });

  it("never takes a host that is not feasible", () => {
    const anyHost = fc
      .record({
        free: fc.nat(8),
        slots: fc.integer({ min: 1, max: 3 }),
        taken: fc.nat(4),
        age: fc.nat(30_000),
      })
      .map(({ free, slots, taken, age }) =>
        host({
          heartbeat: heartbeat({
            memory: { totalBytes: 8 * GIB, availableBytes: free * GIB },
            slots: { total: slots, free: slots },
          }),
          heardAtMs: -age,
          reservations: new Map(Array.from({ length: taken }, (_, index) => [`r${index}`, tiny])),
        }),
      );
    fc.assert(
      fc.property(fc.array(anyHost, { maxLength: 8 }), (machines) => {
        const named = machines.map((machine, index): [string, FleetHost] => [`h${index}`, machine]);
        const { hostId, feasible } = place(entry(), named, 0, TIMES, LOG);
        const possible = named.filter(([, machine]) => refusal(entry(), machine, 0, TIMES) === null);
        expect(feasible).toBe(possible.length);
        if (hostId === null) expect(possible).toEqual([]);
        else expect(possible.map(([id]) => id)).toContain(hostId);
      }),
    );
  });
});

describe("the queue", () => {
  const order = (queue: Queue) => [...queue].map(({ taskId }) => taskId);

  it("goes by priority, then by age, whatever came or left in between", () => {
    const anyStep = fc.record({
      id: fc.nat(15),
      priority: fc.constantFrom("high", "normal", "low"),
      add: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(anyStep, { maxLength: 60 }), (steps) => {
        const queue = new Queue();
        const model = new Map<string, QueueEntry>();
        for (const { id, priority, add } of steps) {
          const taskId = `t${id}`;
          if (add) {
            const added = entry({ taskId, priority: priority as "high", sequence: (id * 7) % 16 });
            queue.add(added);
            model.set(taskId, added);
          } else {
            queue.remove(taskId);
            model.delete(taskId);
          }
        }
        const lanes = ["high", "normal", "low"];
        const wanted = [...model.values()]
          .toSorted(
            (one, other) =>
              lanes.indexOf(one.priority) - lanes.indexOf(other.priority) || one.sequence - other.sequence,
          )
          .map(({ taskId }) => taskId);
        expect(order(queue)).toEqual(wanted);
        expect(queue.size).toBe(wanted.length);
      }),
    );
  });
});

describe("admission at the host", () => {
  const capacity = (overrides: Partial<Capacity> = {}): Capacity => ({
    slots: 2,
    labels: {},
    cores: 4,
    memoryTotalBytes: 8 * GIB,
    memoryAvailableBytes: 6 * GIB,
    draining: false,
    leased: true,
    ...overrides,
  });
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
              refusalOf(order({ resources: { memoryBytes: gib * GIB } }), capacity({ slots }), admitted) ===
              null
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
    [{ leased: false }, {}, "not-ready"],
    [{}, { fork: true }, "policy"],
    [{}, { labels: { os: "windows" } }, "labels"],
    [{}, { resources: { cpus: 5 } }, "cpu"],
    [{}, { resources: { memoryBytes: 7 * GIB } }, "memory"],
  ] as const)("refuses with its reason: %o %o", (state, asked, reason) => {
    expect(refusalOf(order(asked), capacity(state), [])).toMatchObject({ outcome: "refused", reason });
  });
});
