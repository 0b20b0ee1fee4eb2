import { describe, expect, it } from "vitest";
import { Budgets } from "../../services/scheduler/budgets.ts";
import { Dispatcher, type DispatchPorts, ORDERS_AT_ONCE } from "../../services/scheduler/dispatch.ts";
import { Fleet } from "../../services/scheduler/fleet.ts";
import { Queue } from "../../services/scheduler/queue.ts";
import type { QueueEntry } from "../../services/scheduler/queue-entry.ts";
import { DEFAULT_SETTINGS } from "../../shared/config/settings.ts";
import type { Answer } from "../../shared/contracts/failure.ts";
import type { RunReply } from "../../shared/contracts/order.ts";
import { Breakers } from "../../shared/lifecycle/breakers.ts";
import { request } from "../support/facts.ts";
import { heartbeat } from "../support/heartbeats.ts";
import { queued, reservation } from "../support/placement.ts";

const STARTED: Answer<RunReply> = { ok: true, value: { outcome: "started", sequence: 2 } };
const SUPERSEDED: Answer<RunReply> = {
  ok: true,
  value: { outcome: "refused", reason: "superseded", message: "the log has moved on" },
};
const NO_MEMORY: Answer<RunReply> = {
  ok: true,
  value: { outcome: "refused", reason: "memory", message: "its owner has just begun something" },
};
const NO_ANSWER: Answer<RunReply> = { ok: false, error: { code: "unavailable", message: "no answer" } };

const entry = (taskId: string, sequence = 1, about: Partial<QueueEntry> = {}): QueueEntry =>
  queued({ taskId, sequence, after: sequence, memoryBytes: 1, ...about });

/** A dispatcher on a clock of the test's own, with hosts `a` and `b`, of which `a` has more room. */
function scene(ports: Partial<DispatchPorts> & Pick<DispatchPorts, "ask">) {
  const clock = { nowMs: 1_000 };
  const queue = new Queue();
  const fleet = new Fleet();
  const asked: string[] = [];
  const hear = () => {
    fleet.hear(
      heartbeat({ hostId: "a", cpu: { cores: 64, busy: 0, mhz: 3_000 }, slots: { total: 9, free: 9 } }),
      clock.nowMs,
    );
    fleet.hear(heartbeat({ hostId: "b", slots: { total: 1, free: 1 } }), clock.nowMs);
  };
  hear();
  const dispatcher = new Dispatcher(queue, fleet, 15_000, {
    leads: () => true,
    settings: () => DEFAULT_SETTINGS,
    nowMs: () => clock.nowMs,
    brokerNowMs: () => clock.nowMs,
    random: () => 0,
    breakers: new Breakers(60_000),
    budgets: new Budgets(),
    held: () => null,
    request: async () => request(),
    publish: () => {},
    stop: () => {},
    usual: () => null,
    runsOn: () => null,
    ...ports,
    ask: (hostId, order) => {
      asked.push(`${order.taskId} ${hostId}`);
      return ports.ask(hostId, order);
    },
  });
  /** Lets time pass, with heartbeats unless said otherwise, and a sweep be made. */
  const after = async (ms: number, isHeard = true) => {
    clock.nowMs += ms;
    if (isHeard) hear();
    dispatcher.makeRoom();
    dispatcher.pass();
    await new Promise((settled) => setImmediate(settled));
  };
  return { clock, queue, fleet, asked, after };
}

describe("an order to a host", () => {
  it("is given again when the log does not show what the host says it began", async () => {
    const { queue, fleet, asked, after } = scene({ ask: async () => STARTED });
    queue.add(entry("t1"));
    await after(0);
    await after(1_000);
    expect(asked).toEqual(["t1 a"]);
    expect(fleet.hosts.get("a")?.reservations.size).toBe(1);
    await after(5_000);
    expect(asked).toEqual(["t1 a", "t1 a"]);
    expect(fleet.hosts.get("a")?.reservations.size).toBe(1);
  });

  it("that is never answered blocks its task for a while only", async () => {
    const { queue, asked, after } = scene({ ask: () => new Promise(() => {}) });
    queue.add(entry("t1"));
    await after(0);
    await after(10_000);
    expect(asked).toEqual(["t1 a"]);
    await after(10_000);
    expect(asked).toHaveLength(2);
  });

  it("waits for an answer to another one once so many are without", async () => {
    const answers: ((reply: typeof STARTED) => void)[] = [];
    const { clock, queue, fleet, asked, after } = scene({
      ask: () => new Promise((answered) => answers.push(answered)),
    });
    const slots = { total: 1_000, free: 1_000 };
    fleet.hear(heartbeat({ hostId: "a", cpu: { cores: 9_999, busy: 0, mhz: 3_000 }, slots }), clock.nowMs);
    for (let number = 1; number <= ORDERS_AT_ONCE + 5; number++)
      queue.add(entry(`t${number}`, number, { cpus: 1 }));
    await after(0, false);
    expect(asked).toHaveLength(ORDERS_AT_ONCE);
    answers[0]?.(STARTED);
    await after(0, false);
    expect(asked).toHaveLength(ORDERS_AT_ONCE + 1);
  });

  it("makes a host that let us wait be passed over for as long", async () => {
    const { clock, queue, asked, after } = scene({
      ask: async (hostId) => {
        if (hostId === "b") return STARTED;
        clock.nowMs += 10_000;
        return NO_ANSWER;
      },
    });
    queue.add(entry("t1"));
    await after(0);
    expect(asked).toEqual(["t1 a", "t1 b"]);
    queue.add(entry("t2", 2));
    await after(4_000);
    expect(asked).toEqual(["t1 a", "t1 b"]);
    await after(6_000);
    expect(asked.slice(2)).toContain("t2 a");
  });

  it("that the log has overtaken says nothing against the host", async () => {
    const { queue, asked, after } = scene({
      ask: async (_, { taskId }) => (taskId === "old" ? SUPERSEDED : STARTED),
    });
    queue.add(entry("old"));
    await after(0);
    queue.add(entry("new", 2));
    await after(1);
    expect(asked).toEqual(["old a", "new a"]);
    await after(300);
    expect(asked).toEqual(["old a", "new a", "old a"]);
  });

  it("that a host lacks memory for is not given there again before its next heartbeat, nor one for more", async () => {
    const { queue, asked, after } = scene({
      ask: async (hostId) => (hostId === "a" ? NO_MEMORY : STARTED),
    });
    queue.add(entry("t1", 1, { memoryBytes: 100 }));
    await after(0);
    expect(asked).toEqual(["t1 a", "t1 b"]);
    queue.add(entry("more", 2, { memoryBytes: 101 }));
    queue.add(entry("less", 3, { memoryBytes: 99 }));
    await after(1_000, false);
    expect(asked.slice(2)).toEqual(["less a"]);
    await after(1_000);
    expect(asked.slice(3)).toEqual(["more a", "less a"]);
  });

  it("is not given for a task whose request cannot be read, which is tried again", async () => {
    let readable = false;
    const { queue, asked, after } = scene({
      ask: async () => STARTED,
      request: async () => (readable ? request() : null),
    });
    queue.add(entry("t1"));
    await after(0);
    expect(asked).toEqual([]);
    readable = true;
    await after(300);
    expect(asked).toEqual(["t1 a"]);
  });
});

describe("a permanent flood of high tasks", () => {
  it("holds up no low task beyond the stated bound: of 21 that begin one is low", async () => {
    const LOW = 200;
    const { queue, fleet, asked, after } = scene({ ask: async () => STARTED });
    let number = 0;
    const add = (priority: "high" | "low") => {
      number++;
      queue.add(entry(`${priority}-${number}`, number, { priority, repository: `acme/r${number % 7}` }));
    };
    for (let count = 0; count < LOW; count++) add("low");
    let ended = 0;
    while (queue.levels.low.size > 0) {
      while (queue.levels.high.size < 1_000) add("high");
      await after(10);
      // What has begun ends at once, and another high task comes for each.
      for (const [taskId = "", hostId = ""] of asked.slice(ended).map((order) => order.split(" "))) {
        queue.remove(taskId);
        fleet.release(hostId, taskId);
      }
      expect(asked.length).toBeGreaterThan(ended);
      ended = asked.length;
    }
    const places = asked.flatMap((order, index) => (order.startsWith("low") ? [index + 1] : []));
    expect(places).toHaveLength(LOW);
    for (const [before, place] of places.entries()) expect(place).toBeLessThanOrEqual(21 * (before + 1) + 2);
  });
});

describe("a task that asks for most of a host", () => {
  /** Small urgent tasks keep coming; each runs for a minute. Seconds until the big one is placed, null if it is not. */
  async function placedAfter(patienceMs: number, withinS: number): Promise<number | null> {
    const GIB = 2 ** 30;
    const { queue, fleet, asked, after, clock } = scene({
      settings: () => ({ ...DEFAULT_SETTINGS, "placement.patienceMs": patienceMs }),
      ask: async () => STARTED,
    });
    fleet.wish("b", "cordoned");
    queue.add(entry("big", 1, { priority: "low", memoryBytes: 6 * GIB }));
    const running = new Map<string, { hostId: string; untilMs: number }>();
    for (let second = 0, number = 0, seen = 0; second < withinS; second++) {
      for (; queue.size < 5; number++)
        queue.add(entry(`small-${number}`, number + 2, { priority: "high", memoryBytes: GIB }));
      await after(1_000);
      for (; seen < asked.length; seen++) {
        const [taskId = "", hostId = ""] = (asked[seen] ?? "").split(" ");
        if (taskId === "big") return second;
        // They end one by one, so that there is never much room at once.
        running.set(taskId, { hostId, untilMs: clock.nowMs + (seen < 10 ? 6_000 * (seen + 1) : 60_000) });
        queue.remove(taskId);
      }
      for (const [taskId, { hostId, untilMs }] of running)
        if (untilMs <= clock.nowMs) {
          running.delete(taskId);
          fleet.release(hostId, taskId);
        }
    }
    return null;
  }

  it("would wait for ever while small ones keep coming", async () => {
    expect(await placedAfter(86_400_000, 900)).toBeNull();
  });

  it("has a host held after a while, and is placed once what runs there has ended", async () => {
    const seconds = await placedAfter(120_000, 900);
    expect(seconds).not.toBeNull();
    expect(seconds).toBeLessThanOrEqual(120 + 60 + 10);
  });
});

describe("an urgent task", () => {
  it.each<[string, Partial<QueueEntry>]>([
    ["for a budget", { runner: "claude-code", budget: { usd: 1 } }],
    ["for a runner that no host has", { runner: "of-nobody" }],
  ])("has a low one stopped, however many urgent ones before it wait %s", async (_, others) => {
    const stops: string[] = [];
    const { queue, fleet, after } = scene({
      ask: async () => STARTED,
      settings: () => ({
        ...DEFAULT_SETTINGS,
        "placement.preemption": true,
        "budget.perDay": { usd: 0, tokens: null },
      }),
      stop: (hostId, { taskId }) => stops.push(`${taskId} ${hostId}`),
    });
    for (const [hostId, slots] of [
      ["a", 9],
      ["b", 1],
    ] as const)
      for (let number = 0; number < slots; number++)
        fleet.reserve(hostId, `${hostId}-${number}`, reservation({ priority: "low" }));
    for (let number = 1; number <= 50; number++)
      queue.add(entry(`waits-${number}`, number, { priority: "high", ...others }));
    queue.add(entry("urgent", 51, { priority: "high" }));
    await after(0);
    expect(stops).toHaveLength(1);
    await after(1_000);
    expect(stops).toHaveLength(1);
  });
});

describe("the scheduler's memory", () => {
  it("does not keep tasks that have left the queue behind one that fits nowhere", () => {
    const queue = new Queue();
    queue.add(entry("stuck"));
    let longest = 0;
    for (let number = 0; number < 1_000; number++) {
      const passing = entry(`t${number}`, number + 2);
      queue.add(passing);
      queue.remove(passing.taskId);
      expect([...queue].map(({ taskId }) => taskId)).toEqual(["stuck"]);
      longest = Math.max(longest, queue.held);
    }
    expect(longest).toBeLessThanOrEqual(3);
  });

  it("forgets hosts that have left, once nothing runs there", () => {
    const fleet = new Fleet();
    fleet.hear(heartbeat({ hostId: "left" }), 0);
    fleet.hear(heartbeat({ hostId: "busy" }), 0);
    fleet.hear(heartbeat({ hostId: "here" }), 100);
    fleet.reserve("busy", "t1", reservation());
    fleet.forgetBefore(50);
    expect([...fleet.hosts.keys()]).toEqual(["busy", "here"]);
    fleet.release("busy", "t1");
    fleet.forgetBefore(50);
    expect([...fleet.hosts.keys()]).toEqual(["here"]);
  });
});
