import { describe, expect, it, onTestFinished, vi } from "vitest";
import { start as startScheduler } from "../../services/scheduler/main.ts";
import { start as startTracker } from "../../services/status-tracker/main.ts";
import { askApi } from "../../shared/bus/ask.ts";
import type { Bus } from "../../shared/bus/connect.ts";
import { lastMessage } from "../../shared/bus/read.ts";
import { RECEIPTS } from "../../shared/bus/streams.ts";
import { submitTask } from "../../shared/bus/submit.ts";
import { type DeployRequest, REQUEST_DEFAULTS } from "../../shared/contracts/deploy-request.ts";
import { heartbeatSubject } from "../../shared/contracts/heartbeat.ts";
import { Receipt, receiptSubject } from "../../shared/contracts/receipt.ts";
import { contextFor, openBus } from "../support/bus.ts";
import { request } from "../support/facts.ts";
import { heartbeat } from "../support/heartbeats.ts";
import { startNats } from "../support/nats.ts";
import { refused, type ScriptedHost, startScriptedHost } from "../support/scripted-host.ts";

const DEADLINE = { timeout: 20_000, interval: 10 };
/** Before a host that does not answer is given up. */
const SOON = { timeout: 8_000, interval: 10 };
const ROOMY = { memory: { totalBytes: 64 * 2 ** 30, availableBytes: 64 * 2 ** 30 } };

interface Mesh extends AsyncDisposable {
  bus: Bus;
  url: string;
  scheduler: (env?: NodeJS.ProcessEnv) => Promise<void>;
  submit: (taskId: string, overrides?: Partial<DeployRequest>) => Promise<void>;
  host: (
    ...args: Parameters<typeof startScriptedHost> extends [Bus, ...infer Rest] ? Rest : never
  ) => Promise<ScriptedHost>;
}

async function startMesh({ tracker = false, scheduler = true } = {}): Promise<Mesh> {
  await using stack = new AsyncDisposableStack();
  const { url } = stack.use(await startNats());
  const bus = stack.use(await openBus(url));
  if (tracker) stack.use(await startTracker(contextFor(url)));
  if (scheduler) stack.use(await startScheduler(contextFor(url)));
  const owned = stack.move();
  return {
    bus,
    url,
    scheduler: async (env) => void owned.use(await startScheduler(contextFor(url, env))),
    async submit(taskId, overrides = {}) {
      expect(await submitTask(bus, request({ taskId, ...overrides }))).toMatchObject({ ok: true });
    },
    host: async (hostId, script) => owned.use(await startScriptedHost(bus, hostId, script)),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

const receiptOf = async (bus: Bus, taskId: string): Promise<Receipt | null> => {
  const stored = await lastMessage(bus, RECEIPTS, receiptSubject.build({ taskId }));
  return stored && Receipt.parse(JSON.parse(Buffer.from(stored.payload).toString()));
};
const RESULT = { exitCode: 0, durationMs: 1, phases: {}, checks: [], artifacts: [] };
const tasksOf = (host: ScriptedHost) => host.orders.map(({ taskId }) => taskId);
const stateOf = async (bus: Bus, taskId: string) => {
  const task = await askApi(bus, "get", { taskId });
  return task.ok ? task.value.state : task.error.code;
};

describe("a queued task", () => {
  it("waits with its reason while there is no host, and goes to the first that joins", async () => {
    await using mesh = await startMesh();
    await mesh.submit("lonely");
    await vi.waitUntil(async () => (await receiptOf(mesh.bus, "lonely")) !== null, DEADLINE);
    expect(await receiptOf(mesh.bus, "lonely")).toMatchObject({
      hostId: null,
      summary: "no host has joined the mesh",
    });
    const host = await mesh.host("h1");
    await vi.waitUntil(() => host.orders.length === 1, DEADLINE);
    expect(host.orders[0]).toMatchObject({ taskId: "lonely", attempt: 1, after: 1 });
    await vi.waitUntil(async () => (await receiptOf(mesh.bus, "lonely"))?.hostId === "h1", DEADLINE);
  });

  it("is passed by others while the only host that could take it is full", async () => {
    await using mesh = await startMesh();
    const full = await mesh.host("full", { about: { slots: { total: 1, free: 1 }, labels: { gpu: "yes" } } });
    const other = await mesh.host("other");
    await mesh.submit("first", { labels: { gpu: "yes" } });
    await vi.waitUntil(() => full.orders.length === 1, DEADLINE);
    await mesh.submit("stuck", { labels: { gpu: "yes" }, priority: "high" });
    await mesh.submit("passing");
    await vi.waitUntil(() => other.orders.length === 1, DEADLINE);
    expect(tasksOf(other)).toEqual(["passing"]);
    await vi.waitUntil(
      async () =>
        (await receiptOf(mesh.bus, "stuck"))?.summary === "2 hosts: 1 lacks a label, 1 has no free slot",
      DEADLINE,
    );
    await full.say("first", "succeeded", {});
    await vi.waitUntil(() => tasksOf(full).includes("stuck"), DEADLINE);
  });

  it("is explained with every host's refusal, its place, and what it waits for", async () => {
    await using mesh = await startMesh({ tracker: true });
    const small = await mesh.host("small", { about: { slots: { total: 1, free: 1 }, labels: { gpu: "a" } } });
    await mesh.host("plain");
    const gpu = { constraints: [{ label: "gpu", operator: "exists" as const, values: [] }] };
    await mesh.submit("first", gpu);
    await vi.waitUntil(async () => (await stateOf(mesh.bus, "first")) === "running", DEADLINE);
    await mesh.submit("second", gpu);
    await mesh.submit("third", gpu);
    const explained = async (taskId: string) => {
      const told = await askApi(mesh.bus, "explain", { taskId });
      return told.ok ? told.value : null;
    };
    const untilExplained = (taskId: string, as: object) =>
      vi.waitFor(async () => expect(await explained(taskId)).toMatchObject(as), DEADLINE);
    await untilExplained("third", {
      queuePosition: 2,
      summary:
        "queued, number 2: 2 hosts: 1 does not meet gpu, 1 has no free slot of 1; would run on small when a slot is free, in 30 minutes at most (1 task before it)",
      etaMs: null,
      receipt: { hostId: null, hosts: 2, feasible: 0, refusals: { labels: 1, slots: 1 } },
      candidates: [
        { hostId: "small", refusal: "slots", words: "has no free slot of 1" },
        { hostId: "plain", refusal: "labels", words: "does not meet gpu" },
      ],
    });
    expect(await small.say("first", "succeeded", {})).toBe("appended");
    await vi.waitUntil(async () => (await stateOf(mesh.bus, "second")) === "running", DEADLINE);
    await untilExplained("third", { queuePosition: 1, etaMs: expect.any(Number) });
    await untilExplained("second", { receipt: { hostId: "small" }, candidates: [] });
  });

  it("goes to another host at once when the best one refuses, and the queue goes on", async () => {
    await using mesh = await startMesh();
    const refusing = await mesh.host("refusing", { about: ROOMY, onRun: async () => refused });
    const other = await mesh.host("other", { about: { slots: { total: 10, free: 10 } } });
    for (let number = 0; number < 5; number++) await mesh.submit(`t${number}`);
    await vi.waitUntil(() => other.orders.length === 5, SOON);
    expect(refusing.orders.length).toBeGreaterThan(0);
    expect(tasksOf(other).toSorted()).toEqual(["t0", "t1", "t2", "t3", "t4"]);
  });

  it("is not held up by a host that never answers", async () => {
    await using mesh = await startMesh();
    const mute = await mesh.host("mute", {
      about: { slots: { total: 1, free: 1 } },
      onRun: () => new Promise(() => {}),
    });
    await mesh.submit("unlucky");
    await vi.waitUntil(() => mute.orders.length === 1, DEADLINE);
    const other = await mesh.host("other");
    await mesh.submit("passing");
    await vi.waitUntil(() => other.orders.length === 1, SOON);
    expect(tasksOf(other)).toEqual(["passing"]);
    await vi.waitUntil(() => other.orders.length === 2, DEADLINE);
    expect(tasksOf(other)).toEqual(["passing", "unlucky"]);
  });

  it("comes in the order of priority, then of age", async () => {
    await using mesh = await startMesh();
    await mesh.submit("low", { priority: "low" });
    await mesh.submit("normal-1");
    await mesh.submit("normal-2");
    await mesh.submit("high", { priority: "high" });
    const host = await mesh.host("h1", { about: { slots: { total: 1, free: 1 } } });
    for (const taskId of ["high", "normal-1", "normal-2", "low"]) {
      await vi.waitUntil(() => tasksOf(host).at(-1) === taskId, DEADLINE);
      await vi.waitUntil(async () => (await host.say(taskId, "succeeded", {})) === "appended", DEADLINE);
    }
    expect(tasksOf(host)).toEqual(["high", "normal-1", "normal-2", "low"]);
  });

  it("that is urgent has a low one stopped, if that is allowed, which is queued again without a failure", async () => {
    await using mesh = await startMesh({ tracker: true });
    const host = await mesh.host("h1", { about: { slots: { total: 1, free: 1 } } });
    await mesh.submit("low", { priority: "low" });
    await vi.waitUntil(async () => (await stateOf(mesh.bus, "low")) === "running", DEADLINE);
    await mesh.submit("urgent", { priority: "high" });
    await mesh.submit("ordinary");
    await vi.waitUntil(async () => (await receiptOf(mesh.bus, "urgent")) !== null, DEADLINE);
    expect(host.stops).toEqual([]);
    expect(await askApi(mesh.bus, "configure", { key: "placement.preemption", value: true })).toMatchObject({
      ok: true,
    });
    await vi.waitUntil(() => host.stops.length > 0, DEADLINE);
    expect(host.stops).toEqual([{ taskId: "low", attempt: 1, reason: "preempted" }]);
    await host.say("low", "faulted", { failure: { category: "preempted", message: "it made room" } });
    await vi.waitUntil(async () => (await stateOf(mesh.bus, "urgent")) === "running", DEADLINE);
    expect(await askApi(mesh.bus, "get", { taskId: "low" })).toMatchObject({
      value: { state: "queued", failures: 0 },
    });
    expect(tasksOf(host)).toEqual(["low", "urgent"]);
  });

  it("that failed on a host goes to another one, by a scheduler that begins anew too", async () => {
    await using mesh = await startMesh({ tracker: true, scheduler: false });
    const first = await startScheduler(contextFor(mesh.url));
    const best = await mesh.host("best", { about: ROOMY });
    const other = await mesh.host("other");
    await mesh.submit("t1");
    await vi.waitUntil(() => best.orders.length === 1, DEADLINE);
    await vi.waitUntil(async () => (await stateOf(mesh.bus, "t1")) === "running", DEADLINE);
    await first[Symbol.asyncDispose]();
    await best.say("t1", "faulted", { failure: { category: "host", message: "the disk is full" } });
    await mesh.scheduler();
    await vi.waitUntil(() => other.orders.length === 1, DEADLINE);
    expect(other.orders[0]).toMatchObject({ taskId: "t1", attempt: 2 });
    expect(best.orders).toHaveLength(1);
    await vi.waitUntil(async () => (await receiptOf(mesh.bus, "t1"))?.hostId === "other", DEADLINE);
    expect(await receiptOf(mesh.bus, "t1")).toMatchObject({ feasible: 2, penalized: ["best"] });
  });

  it("that asks for no memory is counted with what its like needed, by a scheduler that begins anew too", async () => {
    await using mesh = await startMesh({ tracker: true, scheduler: false });
    const first = await startScheduler(contextFor(mesh.url));
    const host = await mesh.host("h1", { about: ROOMY });
    const memoryOf = async (taskId: string, about: Partial<DeployRequest> = {}) => {
      await mesh.submit(taskId, about);
      const order = await vi.waitUntil(() => host.orders.find((one) => one.taskId === taskId), DEADLINE);
      await vi.waitUntil(async () => (await stateOf(mesh.bus, taskId)) === "running", DEADLINE);
      expect(await host.say(taskId, "succeeded", { result: { ...RESULT, peakMemoryBytes: 2e9 } })).toBe(
        "appended",
      );
      await vi.waitUntil(async () => (await stateOf(mesh.bus, taskId)) === "succeeded", DEADLINE);
      return order.memoryBytes;
    };
    for (const taskId of ["t1", "t2", "t3", "t4", "t5"])
      expect(await memoryOf(taskId)).toBe(REQUEST_DEFAULTS.memoryBytes);
    expect(await memoryOf("learned")).toBe(2e9);
    expect(await memoryOf("asks", { resources: { memoryBytes: 1e9 } })).toBe(1e9);
    expect(await memoryOf("other", { repository: "acme/other" })).toBe(REQUEST_DEFAULTS.memoryBytes);
    expect(await receiptOf(mesh.bus, "learned")).toMatchObject({
      memory: { bytes: 2e9, why: "95 % of 5 attempts of acme/shop pr_deployment needed no more" },
    });
    await first[Symbol.asyncDispose]();
    await mesh.scheduler();
    expect(await memoryOf("anew")).toBe(2e9);
    expect(await askApi(mesh.bus, "configure", { key: "placement.learn", value: false })).toMatchObject({
      ok: true,
    });
    await mesh.submit("waits", { constraints: [{ label: "gpu", operator: "exists", values: [] }] });
    await vi.waitUntil(async () => {
      const told = await askApi(mesh.bus, "explain", { taskId: "waits" });
      return told.ok && told.value.receipt?.memory?.why === "the default: placement.learn is false";
    }, DEADLINE);
    expect(await memoryOf("unlearned")).toBe(REQUEST_DEFAULTS.memoryBytes);
  });

  it("from a fork is rejected and offered to nobody", async () => {
    await using mesh = await startMesh({ tracker: true });
    const host = await mesh.host("h1");
    await mesh.submit("stranger", { fork: true });
    await vi.waitUntil(async () => (await stateOf(mesh.bus, "stranger")) === "failed", DEADLINE);
    await mesh.submit("ours");
    await vi.waitUntil(() => host.orders.length > 0, DEADLINE);
    expect(tasksOf(host)).toEqual(["ours"]);
  });

  it("that is cancelled before a host takes it is offered to nobody", async () => {
    await using mesh = await startMesh({ tracker: true });
    await mesh.submit("unwanted");
    expect(await askApi(mesh.bus, "cancel", { taskId: "unwanted" })).toMatchObject({ ok: true });
    await vi.waitUntil(async () => (await stateOf(mesh.bus, "unwanted")) === "cancelled", DEADLINE);
    await mesh.submit("wanted");
    const host = await mesh.host("h1");
    await vi.waitUntil(() => host.orders.length > 0, DEADLINE);
    expect(tasksOf(host)).toEqual(["wanted"]);
  });

  it("is placed by the scheduler that is left when the leading one ends, and begun once", async () => {
    await using mesh = await startMesh({ scheduler: false });
    const leading = await startScheduler(contextFor(mesh.url));
    await mesh.scheduler();
    const host = await mesh.host("h1", { about: { slots: { total: 10, free: 10 } } });
    await mesh.submit("before");
    await vi.waitUntil(() => host.orders.length === 1, DEADLINE);
    await leading[Symbol.asyncDispose]();
    await mesh.submit("after");
    await vi.waitUntil(() => host.orders.length === 2, DEADLINE);
    expect(tasksOf(host)).toEqual(["before", "after"]);
  });
});

describe("a host", () => {
  it("on which task after task fails is given nothing for a while, then one attempt, then work again", async () => {
    await using mesh = await startMesh({ tracker: true });
    const host = await mesh.host("h1", { about: ROOMY });
    for (const taskId of ["a", "b", "c"]) {
      await mesh.submit(taskId, { maxAttempts: 1 });
      await vi.waitUntil(() => tasksOf(host).at(-1) === taskId, DEADLINE);
      await vi.waitUntil(async () => (await stateOf(mesh.bus, taskId)) === "running", DEADLINE);
      await host.say(taskId, "faulted", { failure: { category: "host", message: "the disk is full" } });
    }
    await vi.waitUntil(async () => (await stateOf(mesh.bus, "c")) === "failed", DEADLINE);
    await mesh.submit("probe");
    await mesh.submit("next");
    await vi.waitUntil(async () => (await receiptOf(mesh.bus, "next"))?.hostId === null, DEADLINE);
    expect(await askApi(mesh.bus, "explain", { taskId: "next" })).toMatchObject({
      value: { summary: "queued, number 2: 1 host: 1 has an open breaker" },
    });
    expect(await askApi(mesh.bus, "hosts", {})).toMatchObject({
      value: { data: [{ breaker: { state: "open", why: "host: the disk is full" } }] },
    });
    expect(tasksOf(host)).toEqual(["a", "b", "c"]);
    // A scheduler that begins anew has it from the log.
    await mesh.scheduler();
    await vi.waitUntil(() => tasksOf(host).length === 4, DEADLINE);
    await vi.waitUntil(async () => (await stateOf(mesh.bus, "probe")) === "running", DEADLINE);
    await mesh.submit("later");
    await vi.waitUntil(async () => (await receiptOf(mesh.bus, "later"))?.hostId === null, DEADLINE);
    expect(tasksOf(host)).toEqual(["a", "b", "c", "probe"]);
    await host.say("probe", "succeeded", {});
    await vi.waitUntil(() => tasksOf(host).length === 6, DEADLINE);
    const closed = { value: { data: [{ breaker: null }] } };
    await vi.waitFor(async () => expect(await askApi(mesh.bus, "hosts", {})).toMatchObject(closed), DEADLINE);
  });

  it("is not blamed for a repository that nobody can fetch: that one has a breaker of its own, which is shown", async () => {
    await using mesh = await startMesh({ tracker: true });
    const host = await mesh.host("h1", { about: ROOMY });
    for (const taskId of ["a", "b", "c"]) {
      await mesh.submit(taskId, { maxAttempts: 1 });
      await vi.waitUntil(async () => (await stateOf(mesh.bus, taskId)) === "running", DEADLINE);
      await host.say(taskId, "faulted", { failure: { category: "source", message: "no such repository" } });
    }
    await vi.waitUntil(async () => (await stateOf(mesh.bus, "c")) === "failed", DEADLINE);
    const shown = { repository: "acme/shop", state: "open", why: "source: no such repository", probe: null };
    expect(await askApi(mesh.bus, "hosts", {})).toMatchObject({
      value: { data: [{ breaker: null }], breakers: [shown] },
    });
    await mesh.submit("other", { repository: "acme/other" });
    await vi.waitUntil(() => tasksOf(host).at(-1) === "other", DEADLINE);
  });

  it("whose heartbeats nobody can read is given nothing, and stops nobody", async () => {
    await using mesh = await startMesh({ tracker: true });
    const said = ["no JSON", "{}", JSON.stringify(heartbeat({ hostId: "somebody-else" }))];
    for (const [index, payload] of said.entries())
      await mesh.bus.js.publish(heartbeatSubject.build({ hostId: `odd-${index}` }), payload);
    const host = await mesh.host("h1");
    await mesh.submit("t1");
    await vi.waitUntil(() => host.orders.length === 1, DEADLINE);
    await vi.waitFor(async () => {
      const hosts = await askApi(mesh.bus, "hosts", {});
      expect(hosts.ok && hosts.value.data.map(({ hostId }) => hostId)).toEqual(["h1"]);
    }, DEADLINE);
  });

  it("is as old as the broker says, whatever the scheduler's own clock tells", async () => {
    await using mesh = await startMesh({ scheduler: false });
    const clock = vi.spyOn(Date, "now").mockReturnValue(Date.now() + 600_000);
    onTestFinished(() => clock.mockRestore());
    // One heartbeat, and no other for long.
    const host = await mesh.host("h1", { beatEveryMs: 600_000 });
    await mesh.submit("t1");
    await mesh.scheduler({ MESH_LEASE_MS: "12000" });
    await vi.waitUntil(() => host.orders.length > 0, DEADLINE);
    expect(tasksOf(host)).toEqual(["t1"]);
  });
});
