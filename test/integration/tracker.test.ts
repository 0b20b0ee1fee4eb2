import { describe, expect, it, vi } from "vitest";
import { start as startTracker } from "../../services/status-tracker/main.ts";
import { askApi } from "../../shared/bus/ask.ts";
import type { Bus } from "../../shared/bus/connect.ts";
import { factsOfTask, lastMessage, storedMessages } from "../../shared/bus/read.ts";
import { DEAD, HOSTS } from "../../shared/bus/streams.ts";
import { submitTask } from "../../shared/bus/submit.ts";
import { leaseTimes } from "../../shared/config/environment.ts";
import { deadSubject } from "../../shared/contracts/dead.ts";
import type { DeployRequest } from "../../shared/contracts/deploy-request.ts";
import type { Fact, FactKind } from "../../shared/contracts/fact.ts";
import { factSubject } from "../../shared/contracts/fact.ts";
import { heartbeatSubject } from "../../shared/contracts/heartbeat.ts";
import { silenceMs } from "../../shared/contracts/lease.ts";
import type { TaskState } from "../../shared/contracts/task.ts";
import { contextFor, openBus } from "../support/bus.ts";
import { request } from "../support/facts.ts";
import { type MortalNats, startMortalNats } from "../support/nats.ts";
import { type ScriptedHost, startScriptedHost } from "../support/scripted-host.ts";

const DEADLINE = { timeout: 30_000, interval: 20 };
/** The margin of so short a lease is half a second: less, and a busy machine is taken for a silent host. */
const LEASE_MS = 2_000;
const SILENCE_MS = silenceMs(leaseTimes(LEASE_MS));

interface Mesh extends AsyncDisposable {
  bus: Bus;
  nats: MortalNats;
  host: (hostId: string) => Promise<ScriptedHost>;
  /** Sequence of the request. */
  submit: (taskId: string, overrides?: Partial<DeployRequest>) => Promise<number>;
  /** The task's facts, once it is in this state. */
  until: (taskId: string, state: TaskState) => Promise<Fact[]>;
  facts: (taskId: string) => Promise<Fact[]>;
}

async function startMesh({ trackers = 1 } = {}): Promise<Mesh> {
  await using stack = new AsyncDisposableStack();
  const nats = stack.use(await startMortalNats());
  const bus = stack.use(await openBus(nats.url));
  const context = contextFor(nats.url, { MESH_LEASE_MS: String(LEASE_MS) });
  for (let number = 0; number < trackers; number++) stack.use(await startTracker(context));
  const owned = stack.move();
  const facts = async (taskId: string) =>
    (await factsOfTask(bus, taskId)).filter((fact): fact is Fact => fact.body !== null);
  return {
    bus,
    nats,
    facts,
    host: async (hostId) => owned.use(await startScriptedHost(bus, hostId)),
    async submit(taskId, overrides = {}) {
      const submitted = await submitTask(bus, request({ taskId, ...overrides }));
      if (!submitted.ok) throw new Error(submitted.error.message);
      return submitted.value.sequence;
    },
    async until(taskId, state) {
      const isThere = async () => {
        const task = await askApi(bus, "get", { taskId });
        return task.ok && task.value.state === state;
      };
      await vi.waitUntil(isThere, DEADLINE);
      return facts(taskId);
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

const kinds = (facts: Fact[]): FactKind[] => facts.map(({ kind }) => kind);
const bodyOf = (facts: Fact[], kind: FactKind) => facts.findLast((fact) => fact.kind === kind)?.body;
const order = (taskId: string, after: number, attempt = 1) => ({
  taskId,
  attempt,
  after,
  request: request({ taskId }),
});

// Most of their time is silence.
describe.concurrent("a running attempt", () => {
  it("is lost when its host goes silent, and its task is queued for another attempt", async () => {
    await using mesh = await startMesh();
    const host = await mesh.host("h1");
    await host.begin(order("t1", await mesh.submit("t1")));
    await mesh.until("t1", "running");
    host.fallSilent();
    const facts = await mesh.until("t1", "queued");
    expect(kinds(facts)).toEqual(["requested", "started", "requeued"]);
    expect(bodyOf(facts, "requeued")).toMatchObject({
      attempt: 1,
      failures: 1,
      reason: "lost",
      failure: { category: "lost", message: "host h1 went silent during attempt 1" },
    });
    const other = await mesh.host("h2");
    const last = facts.at(-1)?.sequence ?? 0;
    expect(await other.begin(order("t1", last, 2))).toMatchObject({ outcome: "started" });
    // The older one wakes up, and is told off.
    expect(await host.say("t1", "succeeded", {})).toBe("refused");
  });

  it("is lost at once when its host says that it no longer runs it", async () => {
    await using mesh = await startMesh();
    const host = await mesh.host("h1");
    await host.begin(order("t1", await mesh.submit("t1")));
    await mesh.until("t1", "running");
    host.attempts.length = 0;
    const facts = await mesh.until("t1", "queued");
    expect(bodyOf(facts, "requeued")).toMatchObject({
      reason: "lost",
      failure: { message: "host h1 no longer runs attempt 1" },
    });
  });

  it("that is lost still counts when it had succeeded, as long as no newer one has begun", async () => {
    await using mesh = await startMesh();
    const host = await mesh.host("h1");
    await host.begin(order("t1", await mesh.submit("t1")));
    await mesh.until("t1", "running");
    host.fallSilent();
    const lost = await mesh.until("t1", "queued");
    expect(await host.say("t1", "succeeded", { after: lost.at(-1)?.sequence ?? 0 })).toBe("appended");
    expect(kinds(await mesh.until("t1", "succeeded"))).toEqual([
      "requested",
      "started",
      "requeued",
      "succeeded",
    ]);
  });

  it("is not lost while its host says what nobody can read, and is once it says nothing", async () => {
    await using mesh = await startMesh();
    const host = await mesh.host("h1");
    await host.begin(order("t1", await mesh.submit("t1")));
    await mesh.until("t1", "running");
    host.fallSilent();
    const subject = heartbeatSubject.build({ hostId: "h1" });
    const garble = () => mesh.bus.js.publish(subject, "?");
    const from = performance.now();
    await vi.waitUntil(
      async () => {
        await garble();
        return performance.now() - from > SILENCE_MS * 2;
      },
      { timeout: 20_000, interval: 100 },
    );
    expect(kinds(await mesh.facts("t1"))).toEqual(["requested", "started"]);
    const facts = await mesh.until("t1", "queued");
    const heardLast = await lastMessage(mesh.bus, HOSTS, subject);
    expect((facts.at(-1)?.timeMs ?? 0) - (heardLast?.timeMs ?? 0)).toBeGreaterThanOrEqual(SILENCE_MS);
  });

  it("is not lost before a full grace after the bus was away", async () => {
    await using mesh = await startMesh();
    const host = await mesh.host("h1");
    await host.begin(order("t1", await mesh.submit("t1")));
    await mesh.until("t1", "running");
    host.fallSilent();
    await mesh.nats.kill();
    const from = performance.now();
    await vi.waitUntil(() => performance.now() - from > SILENCE_MS, DEADLINE);
    const backAtMs = Date.now();
    await mesh.nats.start();
    const facts = await mesh.until("t1", "queued");
    expect(kinds(facts)).toEqual(["requested", "started", "requeued"]);
    expect((facts.at(-1)?.timeMs ?? 0) - backAtMs).toBeGreaterThanOrEqual(SILENCE_MS);
  });

  it("goes on when the bus was away and its host is back within the grace", async () => {
    await using mesh = await startMesh();
    const host = await mesh.host("h1");
    await host.begin(order("t1", await mesh.submit("t1")));
    await mesh.until("t1", "running");
    await mesh.nats.kill();
    const from = performance.now();
    await vi.waitUntil(() => performance.now() - from > SILENCE_MS, DEADLINE);
    await mesh.nats.start();
    const backAtMs = performance.now();
    await vi.waitUntil(() => performance.now() - backAtMs > SILENCE_MS * 1.5, DEADLINE);
    expect(await host.say("t1", "succeeded", {})).toBe("appended");
    expect(kinds(await mesh.until("t1", "succeeded"))).toEqual(["requested", "started", "succeeded"]);
  });
});

describe("a failed attempt", () => {
  it("is tried again after a wait, until no attempts are left", async () => {
    await using mesh = await startMesh();
    const host = await mesh.host("h1");
    await host.begin(order("t1", await mesh.submit("t1", { maxAttempts: 2 })));
    await host.say("t1", "faulted", { failure: { category: "host", message: "the disk is full" } });
    const again = await mesh.until("t1", "queued");
    expect(kinds(again)).toEqual(["requested", "started", "faulted", "deferred", "requeued"]);
    expect(bodyOf(again, "deferred")).toMatchObject({ failures: 1, reason: "retry" });
    await host.begin(order("t1", again.at(-1)?.sequence ?? 0, 2));
    await host.say("t1", "faulted", { failure: { category: "host", message: "the disk is full" } });
    const facts = await mesh.until("t1", "failed");
    expect(bodyOf(facts, "failed")).toMatchObject({
      attempt: 2,
      failures: 2,
      exhausted: true,
      failure: { category: "host", message: "the disk is full" },
    });
  });

  it("that met a quota is parked until the time that the provider named, and counts as no failure", async () => {
    await using mesh = await startMesh();
    const host = await mesh.host("h1");
    await host.begin(order("t1", await mesh.submit("t1", { maxAttempts: 1 })));
    const failure = { category: "quota" as const, message: "try later", retryAfterMs: 3_600_000 };
    await host.say("t1", "faulted", { failure });
    const facts = await mesh.until("t1", "waiting");
    expect(bodyOf(facts, "deferred")).toMatchObject({ failures: 0, reason: "quota", delayMs: 3_600_000 });
    const resumesAt = new Date((facts.at(-1)?.timeMs ?? 0) + 3_600_000).toISOString();
    expect(await askApi(mesh.bus, "get", { taskId: "t1" })).toMatchObject({
      value: { waitingUntil: resumesAt, reason: `quota: resumes at ${resumesAt}` },
    });
  });

  it("whose command or check failed ends its task at once", async () => {
    await using mesh = await startMesh();
    const host = await mesh.host("h1");
    await host.begin(order("t1", await mesh.submit("t1")));
    await host.say("t1", "faulted", { failure: { category: "gate", message: "refuted" } });
    const facts = await mesh.until("t1", "failed");
    expect(kinds(facts)).toEqual(["requested", "started", "faulted", "failed"]);
    expect(bodyOf(facts, "failed")).toMatchObject({ exhausted: false, failure: { category: "gate" } });
  });
});

describe("a cancelled task", () => {
  it("has its attempt stopped, again and again until the host says that it is over", async () => {
    await using mesh = await startMesh();
    const host = await mesh.host("h1");
    await host.begin(order("t1", await mesh.submit("t1")));
    await mesh.until("t1", "running");
    expect(await askApi(mesh.bus, "cancel", { taskId: "t1" })).toMatchObject({ ok: true });
    await vi.waitUntil(() => host.stops.length >= 2, DEADLINE);
    expect(host.stops[0]).toEqual({ taskId: "t1", attempt: 1, reason: "cancelled" });
    expect(kinds(await mesh.facts("t1"))).not.toContain("cancelled");
    const after = (await mesh.facts("t1")).at(-1)?.sequence ?? 0;
    await host.say("t1", "faulted", { after, failure: { category: "cancelled", message: "stopped" } });
    const facts = await mesh.until("t1", "cancelled");
    expect(bodyOf(facts, "cancelled")).toMatchObject({ lost: false, attempt: 1, hostId: "h1" });
  });

  it("ends without its host once that is silent", async () => {
    await using mesh = await startMesh();
    const host = await mesh.host("h1");
    await host.begin(order("t1", await mesh.submit("t1")));
    await mesh.until("t1", "running");
    host.fallSilent();
    await askApi(mesh.bus, "cancel", { taskId: "t1" });
    expect(bodyOf(await mesh.until("t1", "cancelled"), "cancelled")).toMatchObject({ lost: true });
  });
});

describe("the tasks of a pull request", () => {
  const of = (sha: string, overrides: Partial<DeployRequest> = {}) => ({
    prNumber: 7,
    sha: sha.repeat(40),
    ...overrides,
  });

  it("are cancelled by a newer commit, running or not, and by nothing older", async () => {
    await using mesh = await startMesh();
    const host = await mesh.host("h1");
    await host.begin(order("running", await mesh.submit("running", of("a"))));
    await mesh.submit("queued", of("b", { supersede: false }));
    await mesh.submit("newer", of("c", { pullRequestUpdatedAt: "2026-01-02T00:00:00Z" }));
    await mesh.until("queued", "cancelled");
    await vi.waitUntil(() => host.stops.length > 0, DEADLINE);
    await mesh.submit("late", of("d", { pullRequestUpdatedAt: "2026-01-01T00:00:00Z" }));
    const facts = await mesh.until("late", "cancelled");
    expect(bodyOf(facts, "cancelled")).toMatchObject({
      reason: "superseded by task newer",
      supersededBy: "newer",
    });
    expect(kinds(await mesh.facts("newer"))).toEqual(["requested"]);
  });

  it("that are done again overtake no newer one, and are not late", async () => {
    await using mesh = await startMesh();
    await mesh.submit("old", of("a", { pullRequestUpdatedAt: "2026-01-01T00:00:00Z" }));
    await mesh.submit("new", of("b", { pullRequestUpdatedAt: "2026-01-02T00:00:00Z" }));
    await mesh.until("old", "cancelled");
    const retried = await askApi(mesh.bus, "retry", { taskId: "old" });
    expect(retried).toMatchObject({ ok: true, value: { retryOf: "old", sha: "a".repeat(40) } });
    const retry = retried.ok ? retried.value.taskId : "";
    // Something that is decided after it.
    await mesh.submit("stranger", { fork: true });
    await mesh.until("stranger", "failed");
    expect(kinds(await mesh.facts(retry))).toEqual(["requested"]);
    expect(kinds(await mesh.facts("new"))).toEqual(["requested"]);
  });
});

describe("two trackers", () => {
  it("set a message that nobody can decode aside exactly once, reject its task, and go on", async () => {
    await using mesh = await startMesh({ trackers: 2 });
    const subject = factSubject.build({ taskId: "poison", kind: "requested", speaker: "normal" });
    const { seq } = await mesh.bus.js.publish(subject, '{"type": "pr_deployment"');
    const facts = await mesh.until("poison", "failed");
    expect(kinds(facts)).toEqual(["rejected"]);
    await mesh.submit("stranger", { fork: true });
    expect(kinds(await mesh.until("stranger", "failed"))).toEqual(["requested", "rejected"]);
    const dead = [];
    for await (const message of storedMessages(mesh.bus, DEAD, deadSubject.wildcard()))
      dead.push(JSON.parse(Buffer.from(message.payload).toString()));
    expect(dead).toMatchObject([{ sequence: seq, subject, problem: "the payload is no JSON text" }]);
    expect(Buffer.from(dead[0].payload, "base64").toString()).toBe('{"type": "pr_deployment"');
  });

  it("say what follows once", async () => {
    await using mesh = await startMesh({ trackers: 2 });
    const host = await mesh.host("h1");
    const tasks = Array.from({ length: 10 }, (_, number) => `t${number}`);
    for (const taskId of tasks) {
      await host.begin(order(taskId, await mesh.submit(taskId)));
      await host.say(taskId, "faulted", { failure: { category: "agent", message: "exit 1" } });
    }
    for (const taskId of tasks)
      expect(kinds(await mesh.until(taskId, "failed"))).toEqual([
        "requested",
        "started",
        "faulted",
        "failed",
      ]);
  });
});
