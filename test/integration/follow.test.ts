import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import path from "node:path";
import { text } from "node:stream/consumers";
import { jetstreamManager } from "@nats-io/jetstream";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import type { Bus } from "../../shared/bus/connect.ts";
import { follow, followFacts, followTasks } from "../../shared/bus/follow.ts";
import { provision } from "../../shared/bus/provision.ts";
import { HOSTS, TASKS } from "../../shared/bus/streams.ts";
import { factSubject } from "../../shared/contracts/fact.ts";
import { heartbeatSubject } from "../../shared/contracts/heartbeat.ts";
import { openBus } from "../support/bus.ts";
import { request } from "../support/facts.ts";
import { heartbeat } from "../support/heartbeats.ts";
import { startMortalNats, startNats } from "../support/nats.ts";

const DEADLINE = { timeout: 30_000, interval: 20 };

/** Puts a request on the log, as soon as the bus lets it. */
async function store(bus: Bus, taskId: string): Promise<void> {
  const subject = factSubject.build({ taskId, kind: "requested", speaker: "normal" });
  const expect = { lastSubjectSequence: 0 };
  const stored = () =>
    bus.js.publish(subject, JSON.stringify({ ...request(), after: 0 }), { expect, timeout: 1_000 }).then(
      () => true,
      (error: { code?: number }) => error.code === 10071,
    );
  await vi.waitUntil(stored, DEADLINE);
}

async function beat(bus: Bus, hostId: string): Promise<void> {
  const subject = heartbeatSubject.build({ hostId });
  const stored = () =>
    bus.js.publish(subject, JSON.stringify(heartbeat({ hostId })), { timeout: 1_000 }).then(
      () => true,
      () => false,
    );
  await vi.waitUntil(stored, DEADLINE);
}

function startFollower(...args: string[]): ChildProcess & { printed: () => string; stderr: Promise<string> } {
  const script = path.resolve(import.meta.dirname, "../support/follower.ts");
  const child = spawn(process.execPath, [script, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  onTestFinished(() => void child.kill("SIGKILL"));
  let printed = "";
  child.stdout.on("data", (data: Buffer) => {
    printed += data.toString();
  });
  return Object.assign(child, { printed: () => printed, stderr: text(child.stderr) });
}

describe("who follows the task log", () => {
  it("hears every fact once and in order, though the server is killed and started again with its data", async () => {
    await using nats = await startMortalNats();
    await using bus = await openBus(nats.url);
    const heard: string[] = [];
    await store(bus, "before");
    await using following = await followTasks(bus, ({ fact }) => heard.push(fact.taskId));
    await following.caughtUp;
    expect(heard).toEqual(["before"]);
    await nats.kill();
    await nats.start();
    await store(bus, "after");
    await vi.waitUntil(() => heard.length === 2, DEADLINE);
    await nats.kill();
    await nats.start();
    for (const taskId of ["one", "two", "three"]) await store(bus, taskId);
    await vi.waitUntil(() => heard.length === 5, DEADLINE);
    expect(heard).toEqual(["before", "after", "one", "two", "three"]);
    expect(following.log.sequence).toBe(5);
  });

  it("goes on at once when its consumer is deleted", async () => {
    await using nats = await startNats();
    await using bus = await openBus(nats.url);
    const heard: string[] = [];
    await using following = await followTasks(bus, ({ fact }) => heard.push(fact.taskId));
    await following.caughtUp;
    const manager = await jetstreamManager(bus.connection);
    for (const taskId of ["one", "two", "three"]) {
      for await (const { name } of manager.consumers.list(TASKS)) await manager.consumers.delete(TASKS, name);
      await store(bus, taskId);
    }
    await vi.waitUntil(() => heard.length === 3, { timeout: 20_000 });
    expect(heard).toEqual(["one", "two", "three"]);
  });

  it("hears what is new from the moment it is told that it follows", async () => {
    await using nats = await startNats();
    await using bus = await openBus(nats.url);
    await store(bus, "old");
    const heard: string[] = [];
    await using following = await followFacts(bus, { from: "new" }, ({ taskId }) => heard.push(taskId));
    await following.caughtUp;
    const manager = await jetstreamManager(bus.connection);
    for await (const { name } of manager.consumers.list(TASKS)) await manager.consumers.delete(TASKS, name);
    await store(bus, "new");
    await vi.waitUntil(() => heard.length > 0, DEADLINE);
    expect(heard).toEqual(["new"]);
  });

  it("tells the broker's time, and the age of a message by it", async () => {
    await using nats = await startNats();
    await using bus = await openBus(nats.url);
    await beat(bus, "h1");
    const storedAtMs = performance.now();
    await vi.waitUntil(() => performance.now() - storedAtMs > 300, DEADLINE);
    const ages: number[] = [];
    const onMessage = (_: unknown, ageMs: number) => ages.push(ageMs);
    // This process's own clock is minutes ahead.
    const clock = vi.spyOn(Date, "now").mockReturnValue(Date.now() + 600_000);
    onTestFinished(() => clock.mockRestore());
    await using following = await follow(bus, { stream: HOSTS, from: "last", onMessage });
    await following.caughtUp;
    expect(ages[0]).toBeGreaterThanOrEqual(290);
    expect(ages[0]).toBeLessThan(60_000);
    expect(Math.abs(Date.now() - 600_000 - following.brokerNowMs())).toBeLessThan(60_000);
  });

  it.each([
    ["the server comes back without its data", "restart"],
    ["the stream is deleted and made anew", "replace"],
  ])("ends its process when %s", async (_, how) => {
    await using nats = await startMortalNats();
    await using bus = await openBus(nats.url);
    await store(bus, "one");
    const follower = startFollower(nats.url);
    await vi.waitUntil(() => follower.printed() === "1\n", DEADLINE);
    const ended = once(follower, "exit");
    if (how === "restart") {
      await nats.kill();
      await nats.start({ empty: true });
    } else {
      const manager = await jetstreamManager(bus.connection);
      await manager.streams.delete(TASKS);
      await provision(bus);
    }
    expect(await ended).toEqual([1, null]);
    expect(await follower.stderr).toContain("TASKS");
  });

  it("ends its process when what it does with a fact throws", async () => {
    await using nats = await startNats();
    await using bus = await openBus(nats.url);
    const follower = startFollower(nats.url, "bad");
    await store(bus, "good");
    await vi.waitUntil(() => follower.printed() === "1\n", DEADLINE);
    const ended = once(follower, "exit");
    await store(bus, "bad");
    expect(await ended).toEqual([1, null]);
    expect(await follower.stderr).toContain("tripped on bad");
  });
});

describe("who follows the last word of each host", () => {
  it("hears the hosts again after a server has lost what lay in memory", async () => {
    await using nats = await startMortalNats();
    await using bus = await openBus(nats.url);
    const heard: string[] = [];
    const hear = ({ subject }: { subject: string }) =>
      heard.push(heartbeatSubject.parse(subject)?.hostId ?? subject);
    for (let times = 0; times < 5; times++) await beat(bus, "h1");
    await using following = await follow(bus, { stream: HOSTS, from: "last", onMessage: hear });
    await following.caughtUp;
    expect(heard).toEqual(["h1"]);
    await nats.kill();
    await nats.start();
    await beat(bus, "h2");
    await vi.waitUntil(() => heard.includes("h2"), DEADLINE);
    expect(heard).toEqual(["h1", "h2"]);
  });
});
