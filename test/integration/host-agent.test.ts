// The host agent as a process, on a real bus: what it takes and refuses, what it says, and what becomes of its
// attempts when it, its supervisor or the bus goes away.
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { pino } from "pino";
import { describe, expect, it, vi } from "vitest";
import { signalAll } from "../../services/host-agent/guest/processes.ts";
import type { Outcome, Work } from "../../services/host-agent/held/executor.ts";
import { start as startHostAgent } from "../../services/host-agent/main.ts";
import { askApi } from "../../shared/bus/ask.ts";
import { readEnvironment } from "../../shared/config/environment.ts";
import { orderSubject } from "../../shared/contracts/order.ts";
import { say } from "../support/gateway.ts";
import { DEADLINE, type Host, type HostMesh, startHostMesh } from "../support/host.ts";
import { isAlive } from "../support/nats.ts";

/** Several of these meshes run at once here: a margin of less than a second, and a host that waits its turn is called lost. */
const SHORT_LEASE_MS = 4_000;

/** A command that writes its attempt's number for as long as it may run, or until a file `go` is there. */
const act = ({ folder }: HostMesh): string =>
  `cd ${folder}; until [ -e go ]; do echo $MESH_ATTEMPT >> acts; sleep 0.02; done`;

const acts = ({ folder }: HostMesh): string[] => {
  const file = path.join(folder, "acts");
  return existsSync(file) ? readFileSync(file, "utf8").trim().split("\n") : [];
};

async function untilActs(mesh: HostMesh, attempt = 1): Promise<void> {
  const before = acts(mesh).length;
  await vi.waitUntil(() => acts(mesh).slice(before).includes(String(attempt)), DEADLINE);
}

const letGo = ({ folder }: HostMesh): void => writeFileSync(path.join(folder, "go"), "");

const untilEmpty = (host: Host) => vi.waitFor(() => expect(host.attempts()).toEqual([]), DEADLINE);

const started = (sequence = expect.any(Number) as number) => ({
  ok: true,
  value: { outcome: "started", sequence },
});
const refused = (reason: string) => ({
  ok: true,
  value: { outcome: "refused", reason, message: expect.any(String) as string },
});

describe.concurrent("an order", () => {
  it("is carried out once, however often it comes, and answered once the log has it", async () => {
    await using mesh = await startHostMesh();
    const host = await mesh.host("h1");
    const task = await mesh.submit(act(mesh));
    const [first, second] = await Promise.all([task.run("h1"), task.run("h1")]);
    expect(first).toEqual(started());
    expect(second).toEqual(first);
    expect(await task.story()).toEqual(["requested", "started"]);
    await untilActs(mesh);
    expect(await task.run("h1")).toEqual(first);
    letGo(mesh);
    await task.said("succeeded");
    expect(await task.story()).toEqual(["requested", "started", "succeeded"]);
    await untilEmpty(host);
  });

  it("is refused with its reason where the host cannot or may not take it", async () => {
    await using mesh = await startHostMesh();
    await mesh.host("h1", { MESH_HOST_SLOTS: "1", MESH_HOST_LABELS: "os=linux" });
    const terabyte = 2 ** 40;
    const asked = async (overrides: Parameters<HostMesh["submit"]>[1]) =>
      (await mesh.submit("true", overrides)).run("h1");
    expect(await asked({ labels: { os: "windows" } })).toEqual(refused("labels"));
    expect(await asked({ resources: { memoryBytes: terabyte } })).toEqual(refused("memory"));
    expect(await asked({ resources: { cpus: 1_000 } })).toEqual(refused("cpu"));
    expect(await asked({ fork: true })).toEqual(refused("policy"));

    const task = await mesh.submit(act(mesh));
    expect(await task.run("h1")).toEqual(started());
    expect(await task.run("h1", { attempt: 2 })).toEqual(refused("superseded"));
    expect(await asked({})).toEqual(refused("full"));
    letGo(mesh);
    await task.said("succeeded");
    expect(await asked({})).toEqual(started());
  });

  it("on what is true no more is refused, and takes no room", async () => {
    await using mesh = await startHostMesh();
    await mesh.host("h1", { MESH_HOST_SLOTS: "1" });
    await mesh.submit("true");
    const task = await mesh.submit("true");
    expect(await task.run("h1", { after: 1 })).toEqual(refused("superseded"));
    await say(mesh.bus, task.taskId, "cancelRequested", "control", { reason: "test" });
    expect(await task.run("h1", { after: 2 })).toEqual(refused("superseded"));
    const other = await mesh.submit("true");
    await vi.waitFor(async () => expect(await other.run("h1")).toEqual(started()), DEADLINE);
  });

  it("that the log does not decide on in time is answered so, and decided later", async () => {
    await using mesh = await startHostMesh({ tracker: false });
    await mesh.host("h1");
    const task = await mesh.submit("true");
    // Overtaken: nobody tells the host what is true instead.
    await say(mesh.bus, task.taskId, "cancelRequested", "control", { reason: "test" });
    expect(await task.run("h1", { after: 1 })).toEqual(refused("unknown"));
    await using _ = await mesh.startTracker();
    expect(await task.run("h1", { after: 1 })).toEqual(refused("superseded"));
  });

  it("about a task that nobody has asked for is refused, and takes no room", async () => {
    await using mesh = await startHostMesh();
    await mesh.host("h1", { MESH_HOST_SLOTS: "1" });
    const task = await mesh.submit("true");
    const subject = orderSubject.build({ hostId: "h1", order: "run" });
    const order = async (after: number) => {
      const madeUp = { taskId: "made-up", attempt: 1, after, request: await task.said("requested") };
      const reply = await mesh.bus.connection.request(subject, JSON.stringify(madeUp), { timeout: 15_000 });
      return reply.json();
    };
    expect(await order(1)).toMatchObject({ outcome: "refused", reason: "superseded" });
    expect(await order(0)).toMatchObject({ code: "bad_request" });
    await vi.waitFor(async () => expect(await task.run("h1")).toEqual(started()), DEADLINE);
  });

  it("that cannot be read is answered with a code and a message", async () => {
    await using mesh = await startHostMesh({ tracker: false });
    await mesh.host("h1");
    const pathLike = JSON.stringify({ taskId: "../../etc", attempt: 1, after: 1, request: {} });
    const wordy = JSON.stringify({ taskId: "t", attempt: "1", after: 1, request: {} });
    for (const payload of ["{", "", "[]", "{}", "\0\xff", pathLike, wordy])
      for (const order of ["run", "stop"]) {
        const subject = orderSubject.build({ hostId: "h1", order });
        const reply = await mesh.bus.connection.request(subject, payload);
        expect(reply.json()).toEqual({ code: "bad_request", message: expect.any(String) });
      }
    const task = await mesh.submit("true");
    expect(await task.run("h1")).toEqual(started());
  });

  it("to stop ends the whole tree, and says why", async () => {
    await using mesh = await startHostMesh();
    const host = await mesh.host("h1");
    const task = await mesh.submit(`${act(mesh)} & ${act(mesh)}`);
    await task.run("h1");
    await untilActs(mesh);
    expect(await task.stop("h1", 2)).toEqual({ ok: true, value: { outcome: "not-here" } });
    expect(await task.stop("h1", 1)).toEqual({ ok: true, value: { outcome: "stopping" } });
    expect(await task.said("faulted")).toMatchObject({ failure: { category: "cancelled" } });
    expect(host.attempts()).toEqual([]);
    expect(await task.stop("h1", 1)).toEqual({ ok: true, value: { outcome: "not-here" } });
  });
});

describe.concurrent("a host", () => {
  it("lists its attempts in its heartbeats for as long as the log does not have their end", async () => {
    await using mesh = await startHostMesh({ leaseMs: SHORT_LEASE_MS });
    await mesh.host("h1");
    const task = await mesh.submit(act(mesh));
    await task.run("h1");
    const { nonce } = await task.said("started");
    await vi.waitFor(async () => {
      const { attempts, slots, limits } = (await mesh.heartbeat("h1")) ?? {};
      // Which of them depends on what this machine gives.
      expect(limits?.memory).toMatch(/^(control-group|watched)$/);
      expect(attempts).toEqual([{ taskId: task.taskId, attempt: 1, nonce }]);
      expect(slots).toEqual({ total: 2, free: 1 });
    }, DEADLINE);
    letGo(mesh);
    await task.said("succeeded");
    await vi.waitFor(async () => expect((await mesh.heartbeat("h1"))?.attempts).toEqual([]), DEADLINE);
  });

  it("of an id that another one speaks as is refused, and the other goes on", async () => {
    await using mesh = await startHostMesh();
    const first = await mesh.host("h1");
    const second = mesh.spawnHost("h1", { MESH_DATA_DIR: "another-machine" });
    expect(await second.exitCode).toBe(2);
    expect(second.output()).toContain("another host agent speaks as h1");
    const onSameFolder = mesh.spawnHost("h2", { MESH_DATA_DIR: "h1" });
    expect(await onSameFolder.exitCode).toBe(2);
    expect(onSameFolder.output()).toContain(`(process ${first.process.pid})`);
    const task = await mesh.submit("true");
    expect(await task.run("h1")).toEqual(started());
    await task.said("succeeded");
  });

  it("that is killed takes its attempts along, and its next life says that they are gone", async () => {
    await using mesh = await startHostMesh({ leaseMs: 60_000 });
    const host = await mesh.host("h1");
    const supervisor = host.supervisorPid();
    const task = await mesh.submit(`setsid sh -c '${act(mesh)}' & ${act(mesh)}`);
    await task.run("h1");
    await untilActs(mesh);
    host.process.kill("SIGKILL");
    await untilEmpty(host);
    await vi.waitUntil(async () => !(await isAlive(supervisor)), DEADLINE);
    // Long before the lease could end: the heartbeat of the next life does not list it.
    const next = await mesh.host("h1");
    expect(await task.said("requeued")).toMatchObject({ reason: "lost", attempt: 1 });
    expect(readdirSync(path.join(next.dataDir, "attempts"))).toEqual([]);
  });

  it("that is killed together with its supervisor leaves nothing to its next life", async () => {
    await using mesh = await startHostMesh({ leaseMs: 60_000 });
    const host = await mesh.host("h1");
    const task = await mesh.submit(act(mesh));
    await task.run("h1");
    await untilActs(mesh);
    signalAll([host.process.pid ?? 0, host.supervisorPid()], "SIGKILL");
    const next = await mesh.host("h1");
    expect(next.attempts()).toEqual([]);
    await task.said("requeued");
  });

  it("says that an attempt ended with the supervisor once its tree is gone, and goes on with another", async () => {
    await using mesh = await startHostMesh();
    const host = await mesh.host("h1");
    const task = await mesh.submit(act(mesh));
    await task.run("h1");
    await untilActs(mesh);
    process.kill(host.supervisorPid(), "SIGKILL");
    expect(await task.said("faulted")).toMatchObject({ failure: { category: "host" } });
    expect(host.attempts()).toEqual([]);
    const other = await mesh.submit("true");
    await vi.waitFor(async () => expect(await other.run("h1")).toEqual(started()), {
      ...DEADLINE,
      interval: 200,
    });
    await other.said("succeeded");
  });

  it("that is told to end takes nothing more, ends what it has, says so, and leaves nothing", async () => {
    await using mesh = await startHostMesh();
    const host = await mesh.host("h1");
    const supervisor = host.supervisorPid();
    const deaf = await mesh.submit(`trap '' TERM; ${act(mesh)}`);
    const other = await mesh.submit("true");
    await deaf.run("h1");
    await untilActs(mesh);
    host.process.kill("SIGTERM");
    await vi.waitFor(async () => expect(await other.run("h1")).toEqual(refused("draining")), DEADLINE);
    expect(await host.exitCode).toBe(0);
    expect(await deaf.said("faulted")).toMatchObject({ failure: { category: "preempted" } });
    expect(host.attempts()).toEqual([]);
    expect(await isAlive(supervisor)).toBe(false);
  });

  it("that stood still freezes what it runs, and lets it go on once the log has agreed", async () => {
    await using mesh = await startHostMesh();
    const host = await mesh.host("h1");
    const task = await mesh.submit(act(mesh));
    await task.run("h1");
    await untilActs(mesh);
    // Longer than half the margin, and much shorter than the lease.
    const stoppedAtMs = performance.now();
    host.process.kill("SIGSTOP");
    await vi.waitUntil(() => performance.now() - stoppedAtMs > 2_500, DEADLINE);
    host.process.kill("SIGCONT");
    await task.said("resumed");
    const said = await vi.waitUntil(async () => (await mesh.heartbeat("h1"))?.lastResume, DEADLINE);
    expect(said.gapMs).toBeGreaterThan(1_500);
    await untilActs(mesh);
    letGo(mesh);
    await task.said("succeeded");
    expect(await task.story()).toEqual(["requested", "started", "succeeded"]);
  });
});

describe.concurrent("an attempt", () => {
  it("is frozen while the bus is away, resumed when it is back, and finished", async () => {
    await using mesh = await startHostMesh({ leaseMs: SHORT_LEASE_MS });
    const host = await mesh.host("h1");
    const task = await mesh.submit(act(mesh));
    await task.run("h1");
    await untilActs(mesh);
    await mesh.nats.kill();
    await vi.waitUntil(async () => isStill(mesh), DEADLINE);
    expect(host.attempts()).not.toEqual([]);
    await mesh.nats.start();
    await task.said("resumed");
    await untilActs(mesh);
    letGo(mesh);
    await task.said("succeeded");
    expect(await task.story()).toEqual(["requested", "started", "succeeded"]);
  });

  it("that finished while the bus was away is said to have, exactly once", async () => {
    await using mesh = await startHostMesh();
    const host = await mesh.host("h1");
    const task = await mesh.submit(act(mesh));
    await task.run("h1");
    await untilActs(mesh);
    await mesh.nats.kill();
    letGo(mesh);
    await untilEmpty(host);
    await mesh.nats.start();
    await task.said("succeeded");
    await vi.waitFor(async () => expect((await mesh.heartbeat("h1"))?.attempts).toEqual([]), DEADLINE);
    expect(await task.story()).toEqual(["requested", "started", "succeeded"]);
  });

  it("that its host ended with while the bus was away is spoken of by the next life, exactly once", async () => {
    await using mesh = await startHostMesh();
    const host = await mesh.host("h1");
    const task = await mesh.submit(act(mesh));
    await task.run("h1");
    await untilActs(mesh);
    await mesh.nats.kill();
    host.process.kill("SIGTERM");
    expect(await host.exitCode).toBe(0);
    expect(host.attempts()).toEqual([]);
    await mesh.nats.start();
    await mesh.host("h1");
    expect(await task.said("faulted")).toMatchObject({ attempt: 1, failure: { category: "preempted" } });
    await vi.waitFor(async () => expect((await mesh.heartbeat("h1"))?.attempts).toEqual([]), DEADLINE);
    expect((await task.story()).slice(0, 4)).toEqual(["requested", "started", "faulted", "requeued"]);
  });

  it("that a former life finished and could not say is said by the next, exactly once", async () => {
    await using mesh = await startHostMesh();
    const task = await mesh.submit("true");
    const begun = { attempt: 1, nonce: "n", installation: "i", boot: 1, counter: 1 };
    const after = await say(mesh.bus, task.taskId, "started", "h1", begun);
    const finished = path.join(mesh.folder, "h1", "finished");
    const file = path.join(finished, `${task.taskId}.1.json`);
    const result = { exitCode: 0, durationMs: 1, phases: {}, checks: [], artifacts: [] };
    mkdirSync(finished, { recursive: true });
    const fact = { kind: "succeeded", body: { result } };
    writeFileSync(file, JSON.stringify({ taskId: task.taskId, attempt: 1, nonce: "n", after, fact }));
    writeFileSync(path.join(finished, "cut-short.1.json"), "{");
    await mesh.host("h1");
    await task.said("succeeded");
    await vi.waitUntil(() => !existsSync(file), DEADLINE);
    expect(await task.story()).toEqual(["requested", "started", "succeeded"]);
  });

  it("of a log that has begun anew is given up", async () => {
    await using mesh = await startHostMesh({ leaseMs: SHORT_LEASE_MS, tracker: false });
    const host = await mesh.host("h1");
    const task = await mesh.submit(act(mesh));
    await task.run("h1");
    await untilActs(mesh);
    await mesh.nats.kill();
    await vi.waitUntil(async () => isStill(mesh), DEADLINE);
    await mesh.nats.start({ empty: true });
    await using _ = await mesh.startTracker();
    await untilEmpty(host);
    await vi.waitFor(async () => expect((await mesh.heartbeat("h1"))?.attempts).toEqual([]), DEADLINE);
    expect(await task.kinds()).toEqual([]);
  });

  it("that a cancel overtakes ends, and the task with it", async () => {
    await using mesh = await startHostMesh();
    const host = await mesh.host("h1");
    const task = await mesh.submit(act(mesh));
    await task.run("h1");
    await untilActs(mesh);
    await askApi(mesh.bus, "cancel", { taskId: task.taskId });
    await task.said("cancelled");
    expect(host.attempts()).toEqual([]);
    expect(await task.story()).toEqual(["requested", "started", "cancelRequested", "faulted", "cancelled"]);
  });

  it("that a cancel reached before it began runs nothing", async () => {
    await using mesh = await startHostMesh({ tracker: false });
    const host = await mesh.host("h1");
    const task = await mesh.submit(act(mesh));
    // Stopped while it prepares, by a tracker that sees the log sooner than the host does.
    const reply = task.run("h1");
    const stopping = { ok: true, value: { outcome: "stopping" } };
    await vi.waitFor(async () => expect(await task.stop("h1", 1)).toEqual(stopping), {
      ...DEADLINE,
      interval: 1,
    });
    await reply;
    await task.said("faulted");
    expect(host.attempts()).toEqual([]);
    expect(acts(mesh)).toEqual([]);
  });

  it("that was stopped while it waited for its start is never let run", async () => {
    await using mesh = await startHostMesh({ tracker: false });
    const outcome = Promise.withResolvers<string>();
    // The work of an attempt that asks for leave to run just after it was told to stop.
    const executor = async ({ signal, stretch }: Work): Promise<Outcome> => {
      await new Promise((stopped) => signal.addEventListener("abort", stopped));
      outcome.resolve(
        await stretch().then(
          () => "let run",
          () => "refused",
        ),
      );
      throw signal.reason;
    };
    const environment = { NATS_URL: mesh.nats.url, MESH_HOST_ID: "h1", MESH_DATA_DIR: `${mesh.folder}/h1` };
    const context = { environment: readEnvironment(environment), log: pino({ level: "silent" }) };
    await using _ = await startHostAgent(context, { executor: () => executor });
    const task = await mesh.submit("true");
    await vi.waitFor(async () => expect(await task.run("h1")).toEqual(started()), DEADLINE);
    await task.stop("h1", 1);
    expect(await outcome.promise).toBe("refused");
    expect(await task.said("faulted")).toMatchObject({ failure: { category: "cancelled" } });
  });

  it.each([
    ["the host agent", (host: Host) => [host.process.pid ?? 0]],
    ["the host agent and its supervisor", (host: Host) => [host.process.pid ?? 0, host.supervisorPid()]],
    [
      "everything of the host",
      (host: Host) => [host.process.pid ?? 0, host.supervisorPid(), ...host.attempts()],
    ],
  ])(
    "acts no more once a newer one has begun, when %s was stopped for longer than a lease",
    async (_, of) => {
      await using mesh = await startHostMesh({ leaseMs: SHORT_LEASE_MS });
      const host = await mesh.host("h1");
      await mesh.host("h2");
      const task = await mesh.submit(act(mesh));
      await task.run("h1");
      await untilActs(mesh, 1);
      const stopped = of(host);
      signalAll(stopped, "SIGSTOP");
      expect(await task.said("requeued")).toMatchObject({ reason: "lost" });
      expect(await task.run("h2", { attempt: 2 })).toEqual(started());
      await untilActs(mesh, 2);
      signalAll(stopped, "SIGCONT");
      await untilEmpty(host);
      letGo(mesh);
      await task.said("succeeded");
      const newer = acts(mesh).indexOf("2");
      expect(acts(mesh).slice(newer)).not.toContain("1");
      expect(await task.story()).toEqual(["requested", "started", "requeued", "started", "succeeded"]);
    },
  );
});

/** Whether nothing has acted for many times as long as an act takes. */
async function isStill(mesh: HostMesh): Promise<boolean> {
  const before = acts(mesh).length;
  const beganMs = performance.now();
  await vi.waitUntil(() => performance.now() - beganMs > 500, DEADLINE);
  return acts(mesh).length === before;
}
