// What a host does about its instances: which it makes, keeps, dismisses and removes.
import fc from "fast-check";
import { pino } from "pino";
import { afterEach, describe, expect, it, vi } from "vitest";
import type { Hello } from "../../services/host-agent/guest/protocol.ts";
import { startInstances } from "../../services/host-agent/instances/instances.ts";
import {
  after,
  backoffMs,
  freeInstances,
  type InstanceRecord,
  type InstanceRules,
  type InstanceState,
  isSpent,
  LIFE,
  type Situation,
  type Step,
  stepsOf,
} from "../../services/host-agent/instances/life.ts";
import {
  type Machine,
  type MachineSource,
  sharedMachine,
} from "../../services/host-agent/instances/machine.ts";
import type { Guest } from "../../services/host-agent/supervisor/guest-keeper.ts";

const RULES: InstanceRules = { most: 5, warm: 1, idleMs: 300_000, tasksEach: 3, silenceMs: 30_000 };

const instances = (...states: InstanceState[]): InstanceRecord[] =>
  Array.from({ length: RULES.most }, (_, index) => ({
    number: index + 1,
    state: states[index] ?? "absent",
    sinceMs: 0,
    tasks: 0,
    heardAtMs: Number.POSITIVE_INFINITY,
    answers: true,
  }));

const situation = (overrides: Partial<Situation> = {}): Situation => ({
  instances: instances(),
  wanted: false,
  waiting: 0,
  failures: 0,
  failedAtMs: Number.NEGATIVE_INFINITY,
  ...overrides,
});

const inShort = (steps: Step[]) => steps.map(({ act, number }) => `${act} ${number}`);
const steps = (overrides: Partial<Situation>, nowMs = 0, rules = RULES) =>
  inShort(stepsOf(situation(overrides), rules, nowMs));

describe("a host's instances", () => {
  it("are made ahead of need, and again when one is taken", () => {
    expect(steps({})).toEqual(["create 1"]);
    expect(steps({ instances: instances("creating") })).toEqual([]);
    expect(steps({ instances: instances("busy") })).toEqual(["create 2"]);
    expect(steps({ instances: instances("busy", "busy", "busy", "busy", "busy") })).toEqual([]);
  });

  it("are made only when somebody asks, where none is kept warm", () => {
    const cold = { ...RULES, warm: 0 };
    expect(steps({}, 0, cold)).toEqual([]);
    expect(steps({ wanted: true }, 0, cold)).toEqual(["create 1"]);
    expect(freeInstances(situation(), cold, 0)).toBe(1);
    expect(freeInstances(situation({ failures: 1, failedAtMs: 0 }), cold, 500)).toBe(0);
  });

  it("that nobody needs go after a while, but for those kept warm", () => {
    const idle = { instances: instances("ready", "ready") };
    expect(steps(idle, RULES.idleMs - 1)).toEqual([]);
    expect(steps(idle, RULES.idleMs)).toEqual(["dismiss 1"]);
    expect(steps({ instances: instances("ready") }, 10 * RULES.idleMs)).toEqual([]);
  });

  it("that are broken or retired are removed, and count until they are", () => {
    const all = instances("retired", "broken", "busy", "busy", "busy");
    expect(steps({ instances: all })).toEqual(["remove 1", "remove 2"]);
  });

  it("whose supervisor is not there for too long are broken", () => {
    const [silent, ...others] = instances("ready");
    const heard = silent && { ...silent, heardAtMs: 1_000 };
    const both = heard ? [heard, ...others] : [];
    expect(steps({ instances: both }, 1_000 + RULES.silenceMs)).toEqual([]);
    expect(steps({ instances: both }, 1_001 + RULES.silenceMs)).toEqual(["fail 1"]);
  });

  it("that cannot be made are tried again, each time later", () => {
    expect([0, 1, 2, 3, 20].map(backoffMs)).toEqual([0, 1_000, 2_000, 4_000, 60_000]);
    expect(steps({ failures: 2, failedAtMs: 0 }, 1_999)).toEqual([]);
    expect(steps({ failures: 2, failedAtMs: 0 }, 2_000)).toEqual(["create 1"]);
  });

  it("never are more than the most, nor lent twice, whatever happens", () => {
    const happenings = fc.array(
      fc.record({
        what: fc.constantFrom("take", "return", "exchange", "done", "fail", "wait"),
        which: fc.nat(RULES.most - 1),
      }),
      { maxLength: 200 },
    );
    fc.assert(
      fc.property(happenings, fc.nat(5), (list, warm) => {
        const rules = { ...RULES, warm };
        let now = 0;
        let all = instances();
        let failures = 0;
        let failedAtMs = Number.NEGATIVE_INFINITY;
        const tell = (number: number, fact: Parameters<typeof after>[1]) => {
          all = all.map((one) =>
            one.number === number ? { ...after(one, fact, now), heardAtMs: now } : one,
          );
        };
        let waiting = 0;
        for (const { what, which } of list) {
          const number = which + 1;
          const state = all[which]?.state;
          if (what === "wait") now += 100_000;
          if ((what === "take" || waiting > 0) && state === "ready") {
            waiting = Math.max(0, waiting - 1);
            tell(number, "taken");
          }
          if (what === "exchange" && state === "busy") {
            waiting++;
            tell(number, "returned");
            tell(number, "dismissed");
          }
          if (what === "return" && state === "busy") {
            tell(number, "returned");
            const spent = all[which] !== undefined && isSpent(all[which], rules);
            tell(number, spent ? "dismissed" : "cleaned");
          }
          if (what === "done" && state === "creating") tell(number, "created");
          if (what === "done" && (state === "broken" || state === "retired")) tell(number, "removed");
          if (what === "fail") {
            if (state === "creating") {
              failures++;
              failedAtMs = now;
            }
            tell(number, "failed");
          }
          const asked = { instances: all, wanted: what === "take", waiting, failures, failedAtMs };
          for (const step of stepsOf(asked, rules, now)) {
            if (step.act === "create") tell(step.number, "wanted");
            if (step.act === "dismiss") tell(step.number, "dismissed");
          }
          const there = all.filter((one) => one.state !== "absent");
          expect(there.length).toBeLessThanOrEqual(rules.most);
          expect(all.every(({ tasks }) => tasks <= rules.tasksEach)).toBe(true);
          expect(freeInstances(asked, rules, now)).toBeLessThanOrEqual(rules.most);
        }
      }),
    );
  });

  it("count as free only while their supervisor is there, and nobody who has done half his work waits for one", () => {
    const [first, ...others] = instances("ready", "ready", "ready");
    const gone = first && { ...first, answers: false };
    const all = gone ? [gone, ...others] : [];
    expect(freeInstances(situation({ instances: all }), RULES, 0)).toBe(2);
    expect(freeInstances(situation({ instances: all, waiting: 1 }), RULES, 0)).toBe(1);
    expect(freeInstances(situation({ instances: all, waiting: 3 }), RULES, 0)).toBe(0);
    const cold = { ...RULES, warm: 0, most: 2 };
    expect(freeInstances(situation({ waiting: 1 }), cold, 0)).toBe(1);
    expect(freeInstances(situation({ instances: instances("busy"), waiting: 1 }), cold, 0)).toBe(0);
  });

  it("are made for those who wait for a fresh one, besides those kept warm", () => {
    expect(steps({ instances: instances("retired"), waiting: 1 })).toEqual([
      "remove 1",
      "create 2",
      "create 3",
    ]);
    expect(steps({ instances: instances("ready"), waiting: 1 })).toEqual(["create 2"]);
    expect(steps({ instances: instances("ready", "ready"), waiting: 1 }, 10 * RULES.idleMs)).toEqual([]);
    const one = { ...RULES, most: 1 };
    expect(
      inShort(stepsOf(situation({ instances: instances("retired").slice(0, 1), waiting: 1 }), one, 0)),
    ).toEqual(["remove 1"]);
  });

  it("are lent only while they are ready, and only what is lent comes back", () => {
    const leads = (fact: "taken" | "returned") =>
      Object.entries(LIFE)
        .filter(([, row]) => row[fact] !== "bug")
        .map(([state]) => state);
    expect(leads("taken")).toEqual(["ready"]);
    expect(leads("returned")).toEqual(["busy"]);
  });
});

describe("what is decided about instances", () => {
  afterEach(() => {
    vi.useRealTimers();
  });

  it("is done once, when one is given up in the moment that another is made", async () => {
    vi.useFakeTimers();
    const guest: Partial<Guest> = { hello: () => null, stretch: () => null, onFrozen() {}, onDied() {} };
    const there = new Set<number>();
    const twice: number[] = [];
    let hasFailed = false;
    const source: MachineSource = {
      async endFormerLife() {},
      async open(number) {
        if (number === 2 && !hasFailed) {
          hasFailed = true;
          throw new Error("not this time");
        }
        if (there.has(number)) twice.push(number);
        there.add(number);
        return { guest } as Machine;
      },
      async close(number) {
        there.delete(number);
      },
      async [Symbol.asyncDispose]() {},
    };
    // The first is silent for too long when the second may be tried again.
    const rules = { ...RULES, most: 2, warm: 2, silenceMs: backoffMs(1) - 1 };
    await using made = startInstances({ source, rules, log: pino({ enabled: false }) });
    await vi.advanceTimersByTimeAsync(10_000);
    expect(there.size).toBeGreaterThan(0);
    expect(twice).toEqual([]);
    expect(made.machines()).not.toEqual([]);
  });

  /** Distros that are all alike: which are there, and a door that their removal waits for. */
  function fakeDistros() {
    const there = new Set<number>();
    const removal = { isHeld: false, go: () => {} };
    const guest: Partial<Guest> = {
      hello: () => ({}) as Hello,
      stretch: () => "s",
      onFrozen() {},
      onDied() {},
    };
    const source: MachineSource = {
      async endFormerLife() {},
      async open(number) {
        there.add(number);
        return { guest } as Machine;
      },
      async close(number) {
        if (removal.isHeld) await new Promise<void>((go) => (removal.go = go));
        there.delete(number);
      },
      async [Symbol.asyncDispose]() {},
    };
    return { there, removal, source };
  }

  it("gives whoever exchanges one a fresh one before anybody else, once the one given back is gone", async () => {
    vi.useFakeTimers();
    const { there, removal, source } = fakeDistros();
    const rules = { ...RULES, most: 2, warm: 1, tasksEach: 1 };
    await using made = startInstances({ source, rules, log: pino({ enabled: false }) });
    await vi.advanceTimersByTimeAsync(1_000);
    const first = made.take()?.instance;
    await vi.advanceTimersByTimeAsync(1_000);
    expect([...there]).toEqual([1, 2]);
    removal.isHeld = true;
    let second: unknown = null;
    void first?.exchange(new AbortController().signal).then((instance) => (second = instance));
    await vi.advanceTimersByTimeAsync(5_000);
    // A spare is ready, but what is to be judged there might still be touched.
    expect({ second, free: made.free(), other: made.take() }).toEqual({ second: null, free: 0, other: null });
    removal.go();
    await vi.advanceTimersByTimeAsync(0);
    expect(second).not.toBe(null);
    // What was given back twice is nobody's.
    first?.giveBack();
    removal.isHeld = false;
    await vi.advanceTimersByTimeAsync(2_000);
    expect({ there: there.size, free: made.free() }).toEqual({ there: 2, free: 1 });
  });

  it("has one made where there is no spare, and none for whoever has stopped waiting", async () => {
    vi.useFakeTimers();
    const { there, source } = fakeDistros();
    const rules = { ...RULES, most: 1, warm: 1, tasksEach: 1 };
    await using made = startInstances({ source, rules, log: pino({ enabled: false }) });
    await vi.advanceTimersByTimeAsync(1_000);
    const exchanged = made.take()?.instance.exchange(new AbortController().signal);
    await vi.advanceTimersByTimeAsync(2_000);
    const second = await exchanged;
    expect([there.size, made.free()]).toEqual([1, 0]);
    const stop = new AbortController();
    const given = second?.exchange(stop.signal).catch((error: unknown) => error);
    stop.abort(new Error("cancelled"));
    expect(await given).toMatchObject({ message: "cancelled" });
    await vi.advanceTimersByTimeAsync(2_000);
    expect(made.free()).toBe(1);
  });

  it("makes the machine that all of them share anew, whenever each has given it up", async () => {
    vi.useFakeTimers();
    let made = 0;
    let ended = 0;
    let hangs = false;
    const source = sharedMachine(
      async () => {
        const isLast = ++made > 1;
        const guest: Partial<Guest> = {
          hello: () => (hangs && !isLast ? null : ({} as Hello)),
          stretch: () => "s",
          onFrozen() {},
          onDied() {},
        };
        return {
          guest,
          async [Symbol.asyncDispose]() {
            ended++;
          },
        } as unknown as Machine;
      },
      async () => {},
    );
    const rules = { ...RULES, most: 3, warm: 3, silenceMs: 5_000 };
    await using instances = startInstances({ source, rules, log: pino({ enabled: false }) });
    await vi.advanceTimersByTimeAsync(1_000);
    const taken = instances.take();
    const before = instances.free();
    hangs = true;
    expect([before, instances.free()]).toEqual([2, 0]);
    await vi.advanceTimersByTimeAsync(3_000);
    // Its time without an answer counts from here, that of the others from before.
    taken?.instance.giveBack();
    await vi.advanceTimersByTimeAsync(60_000);
    expect({ made, ended, free: instances.free() }).toEqual({ made: 2, ended: 1, free: 3 });
  });
});
