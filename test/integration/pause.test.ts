// Pause and resume, asked for over NATS and HTTP, obeyed by real schedulers.
import { describe, expect, it, vi } from "vitest";
import { start as startScheduler } from "../../services/scheduler/main.ts";
import { start as startTracker } from "../../services/status-tracker/main.ts";
import { askApi } from "../../shared/bus/ask.ts";
import type { Bus } from "../../shared/bus/connect.ts";
import { submitTask } from "../../shared/bus/submit.ts";
import { httpClient } from "../../shared/client/http-client.ts";
import { natsClient } from "../../shared/client/nats-client.ts";
import { contextFor, openBus } from "../support/bus.ts";
import { request } from "../support/facts.ts";
import { startGatewayMesh } from "../support/gateway.ts";
import { startNats } from "../support/nats.ts";
import { startScriptedHost } from "../support/scripted-host.ts";

const DEADLINE = { timeout: 20_000, interval: 20 };
/** A pause holds everywhere by then. */
const PROMISED = { timeout: 10_000, interval: 10 };

/** One host that would take everything, and as many schedulers as wanted. */
async function startMesh({ schedulers = 1 } = {}) {
  await using stack = new AsyncDisposableStack();
  const { url } = stack.use(await startNats());
  const bus = stack.use(await openBus(url));
  stack.use(await startTracker(contextFor(url)));
  const host = stack.use(await startScriptedHost(bus, "h1", { about: { slots: { total: 9, free: 9 } } }));
  const leaders: AsyncDisposable[] = [];
  for (let number = 0; number < schedulers; number++)
    leaders.push(stack.use(await startScheduler(contextFor(url))));
  const owned = stack.move();
  return { url, bus, host, leaders, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

const explained = async (bus: Bus, taskId: string) => {
  const told = await askApi(bus, "explain", { taskId });
  return told.ok ? told.value : null;
};

/** A scheduler has looked at it, and written down that it is held up. */
const untilHeld = (bus: Bus, taskId: string, words: string) =>
  vi.waitUntil(
    async () => (await explained(bus, taskId))?.receipt?.summary.includes(words) === true,
    PROMISED,
  );

describe("a pause of the whole fleet", () => {
  it("holds queued tasks and retries up, says so with its reason, and lets what runs go on", async () => {
    await using mesh = await startMesh();
    const { bus, host } = mesh;
    for (const taskId of ["runs", "again"]) await submitTask(bus, request({ taskId }));
    await vi.waitUntil(() => host.attempts.length === 2, DEADLINE);
    expect(await askApi(bus, "pause", { reason: "new wiring" })).toEqual({
      ok: true,
      value: { repository: null, pause: { repository: null, reason: "new wiring" } },
    });
    await submitTask(bus, request({ taskId: "waits" }));
    await untilHeld(bus, "waits", "the whole fleet is paused by an operator since");
    await host.say("again", "faulted", { failure: { category: "preempted", message: "scripted so" } });
    await untilHeld(bus, "again", "new wiring");
    expect(await host.say("runs", "succeeded", {})).toBe("appended");
    expect((await explained(bus, "waits"))?.summary).toMatch(
      /^queued, number 2: the whole fleet is paused by an operator since .+: new wiring$/,
    );
    expect(host.orders).toHaveLength(2);
    await askApi(bus, "resume", {});
    await vi.waitUntil(() => host.orders.length === 4, PROMISED);
  });

  it("holds in a scheduler that begins or takes the lead while it stands", async () => {
    await using mesh = await startMesh({ schedulers: 2 });
    const { bus, host, url, leaders } = mesh;
    await askApi(bus, "pause", {});
    await submitTask(bus, request({ taskId: "t1" }));
    await untilHeld(bus, "t1", "paused");
    await leaders[0]?.[Symbol.asyncDispose]();
    await submitTask(bus, request({ taskId: "t2" }));
    await untilHeld(bus, "t2", "paused");
    await leaders[1]?.[Symbol.asyncDispose]();
    await submitTask(bus, request({ taskId: "t3" }));
    await using _ = await startScheduler(contextFor(url));
    await untilHeld(bus, "t3", "paused");
    expect(host.orders).toEqual([]);
    await askApi(bus, "resume", {});
    await vi.waitUntil(() => host.orders.length === 3, PROMISED);
  });
});

describe("a pause of one repository", () => {
  it.each(["acme/shop", "octo-org/.github", "acme/a..b", "acme/ends."])(
    "holds up the tasks of %s, however its name is spelled, and no others",
    async (repository) => {
      await using mesh = await startMesh();
      const { bus, host } = mesh;
      const shouted = repository.toUpperCase();
      expect(await askApi(bus, "pause", { repository: shouted })).toMatchObject({ ok: true });
      await submitTask(bus, request({ taskId: "held", repository }));
      await untilHeld(bus, "held", `repository ${shouted} is paused`);
      await submitTask(bus, request({ taskId: "other", repository: `${repository}-too` }));
      await vi.waitUntil(() => host.orders.length === 1, DEADLINE);
      expect(host.orders[0]?.taskId).toBe("other");
      await askApi(bus, "resume", { repository });
      await vi.waitUntil(() => host.orders.length === 2, PROMISED);
    },
  );
});

it("over NATS and HTTP alike, what is paused is shown with the hosts until it is resumed", async () => {
  await using mesh = await startGatewayMesh();
  const shown = async () => {
    const hosts = await askApi(mesh.bus, "hosts", {});
    return hosts.ok ? hosts.value.pauses : [];
  };
  for (const client of [httpClient(mesh.url), natsClient(mesh.bus)]) {
    expect(await client.pause({ reason: "why" })).toMatchObject({ ok: true, value: { repository: null } });
    expect(await client.pause({ repository: "acme/shop" })).toMatchObject({
      value: { pause: { repository: "acme/shop", reason: null } },
    });
    await vi.waitUntil(async () => (await shown()).length === 2, PROMISED);
    expect(await shown()).toMatchObject([{ repository: null, reason: "why" }, { repository: "acme/shop" }]);
    for (const what of [{}, { repository: "acme/shop" }])
      expect(await client.resume(what)).toMatchObject({ ok: true, value: { pause: null } });
    await vi.waitUntil(async () => (await shown()).length === 0, PROMISED);
    for (const wrong of [{ repository: "shop" }, { reason: "x".repeat(501) }])
      expect(await client.pause(wrong)).toMatchObject({ ok: false, error: { code: "bad_request" } });
  }
});
