// Cordon, drain and uncordon, obeyed by a real scheduler and a real status tracker, of hosts by hand.
import { describe, expect, it, vi } from "vitest";
import { start as startScheduler } from "../../services/scheduler/main.ts";
import { start as startTracker } from "../../services/status-tracker/main.ts";
import { askApi } from "../../shared/bus/ask.ts";
import { submitTask } from "../../shared/bus/submit.ts";
import { contextFor, openBus } from "../support/bus.ts";
import { request } from "../support/facts.ts";
import { startNats } from "../support/nats.ts";
import { startScriptedHost } from "../support/scripted-host.ts";

const DEADLINE = { timeout: 20_000, interval: 20 };

async function startMesh() {
  await using stack = new AsyncDisposableStack();
  const { url } = stack.use(await startNats());
  const bus = stack.use(await openBus(url));
  stack.use(await startTracker(contextFor(url)));
  stack.use(await startScheduler(contextFor(url)));
  const host = stack.use(await startScriptedHost(bus, "h1"));
  const known = async () => {
    const hosts = await askApi(bus, "hosts", {});
    return hosts.ok && hosts.value.data.length === 1;
  };
  await vi.waitUntil(known, DEADLINE);
  const owned = stack.move();
  const explained = async (taskId: string) => {
    const told = await askApi(bus, "explain", { taskId });
    return told.ok ? told.value.summary : told.error.message;
  };
  return { bus, host, explained, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

describe("the last host", () => {
  it.each(["cordon", "drain"] as const)(
    "under %s leaves tasks queued with that reason, and takes them when it is uncordoned",
    async (verb) => {
      await using mesh = await startMesh();
      const { bus, host } = mesh;
      const word = verb === "cordon" ? "cordoned" : "draining";
      expect(await askApi(bus, verb, { hostId: "h1", reason: "new disk" })).toMatchObject({
        ok: true,
        value: { wish: { kind: word, reason: "new disk" } },
      });
      // Obeyed by then: what is shown and what is placed come from the same bucket.
      const shown = async () => {
        const hosts = await askApi(bus, "hosts", {});
        return hosts.ok && hosts.value.data[0]?.wish?.kind === word;
      };
      await vi.waitUntil(shown, DEADLINE);
      await submitTask(bus, request({ taskId: "t1" }));
      await vi.waitUntil(
        async () => (await mesh.explained("t1")).includes(`1 host: 1 ${word}; would run on h1 if`),
        DEADLINE,
      );
      expect(host.orders).toEqual([]);
      expect(await askApi(bus, "uncordon", { hostId: "h1" })).toMatchObject({ ok: true });
      await vi.waitUntil(() => host.orders.length === 1, DEADLINE);
    },
  );

  it("is ordered at the deadline to stop what runs there, which is queued again without a failure", async () => {
    await using mesh = await startMesh();
    const { bus, host } = mesh;
    await submitTask(bus, request({ taskId: "t1" }));
    await vi.waitUntil(() => host.attempts.length === 1, DEADLINE);
    await askApi(bus, "drain", { hostId: "h1", deadlineMs: 0 });
    await vi.waitUntil(() => host.stops.length > 0, DEADLINE);
    expect(host.stops[0]).toEqual({ taskId: "t1", attempt: 1, reason: "preempted" });
    await host.say("t1", "faulted", { failure: { category: "preempted", message: "drained" } });
    const queued = async () => {
      const task = await askApi(bus, "get", { taskId: "t1" });
      return task.ok && task.value.state === "queued" && task.value;
    };
    expect(await vi.waitUntil(queued, DEADLINE)).toMatchObject({ failures: 0, attempt: 1 });
    expect(host.orders).toHaveLength(1);
  });
});

it("a host that nobody has heard of cannot be drained", async () => {
  await using mesh = await startMesh();
  expect(await askApi(mesh.bus, "drain", { hostId: "nobody" })).toMatchObject({
    ok: false,
    error: { code: "not_found" },
  });
});
