// Tasks that ended long ago, of which only the end is kept: on a real bus, with a status tracker that has begun anew.
import { pino } from "pino";
import { describe, expect, it, vi } from "vitest";
import { Ledger } from "../../services/status-tracker/ledger.ts";
import { PURGED_AT_ONCE, retain } from "../../services/status-tracker/retention.ts";
import { askApi } from "../../shared/bus/ask.ts";
import type { Bus } from "../../shared/bus/connect.ts";
import { followFacts } from "../../shared/bus/follow.ts";
import { factsOfTask } from "../../shared/bus/read.ts";
import { submitTask } from "../../shared/bus/submit.ts";
import { openBus } from "../support/bus.ts";
import { request } from "../support/facts.ts";
import { collect, readEvents, say, sayStarted, saySucceeded, startGatewayMesh } from "../support/gateway.ts";
import { startNats } from "../support/nats.ts";

const DEADLINE = { timeout: 20_000, interval: 20 };
const kindsOf = async (bus: Bus, taskId: string) => (await factsOfTask(bus, taskId)).map(({ kind }) => kind);

/** What the leading status tracker does, as often as a test can wait for, and with a time to keep that has passed. */
async function retaining(bus: Bus, keepMs = () => 0) {
  await using stack = new AsyncDisposableStack();
  const ledger = new Ledger({ factsOfTask: (taskId) => factsOfTask(bus, taskId) }, 60_000);
  const following = stack.use(await followFacts(bus, { from: 1 }, (fact) => void ledger.apply(fact)));
  await following.caughtUp;
  const rounds: number[] = [];
  const write = (line: string) => void rounds.push((JSON.parse(line) as { purged: number }).purged);
  const brokerNowMs = vi.fn<() => number>(() => following.brokerNowMs());
  const log = pino({ level: "info" }, { write });
  stack.use(retain({ bus, ledger, log, leads: () => true, keepMs, brokerNowMs, everyMs: 20 }));
  const owned = stack.move();
  return { rounds, brokerNowMs, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

async function shrink(bus: Bus, isDone: () => Promise<boolean>): Promise<void> {
  await using _ = await retaining(bus);
  await vi.waitUntil(isDone, DEADLINE);
}

async function submitted(bus: Bus, taskId: string): Promise<void> {
  expect(await submitTask(bus, request({ taskId }))).toMatchObject({ ok: true });
}

describe("a task that ended long ago", () => {
  it("is known by its end alone, can be looked at, and is neither done again nor another task", async () => {
    await using nats = await startNats();
    await using bus = await openBus(nats.url);
    await submitted(bus, "done");
    await sayStarted(bus, "done");
    await saySucceeded(bus, "done", { exitCode: 0 });
    await submitted(bus, "dead");
    await sayStarted(bus, "dead");
    const failure = { category: "agent", message: "the command exited 1" };
    await say(bus, "dead", "faulted", "host-1", { attempt: 1, nonce: "n", failure });
    const end = { attempt: 1, hostId: "host-1", nonce: "n", lost: false, failures: 3 };
    await say(bus, "dead", "failed", "control", { ...end, failure, exhausted: true });
    await submitted(bus, "unfinished");
    await shrink(bus, async () => {
      const kinds = await Promise.all(["done", "dead"].map((taskId) => kindsOf(bus, taskId)));
      return kinds.every(({ length }) => length === 1);
    });
    expect(await kindsOf(bus, "done")).toEqual(["succeeded"]);
    expect(await kindsOf(bus, "dead")).toEqual(["failed"]);
    expect(await kindsOf(bus, "unfinished")).toEqual(["requested"]);

    await using mesh = await startGatewayMesh({ natsUrl: nats.url });
    const done = await askApi(mesh.bus, "get", { taskId: "done" });
    expect(done).toMatchObject({
      value: { state: "succeeded", attempt: 1, hostId: "host-1", result: { exitCode: 0 }, requestedAt: null },
    });
    expect(done.ok && done.value.reason).toContain("only its end is still kept");
    const failed = await askApi(mesh.bus, "get", { taskId: "dead" });
    expect(failed).toMatchObject({ value: { state: "failed", failures: 3, failure } });
    const explained = await askApi(mesh.bus, "explain", { taskId: "done" });
    expect(explained).toMatchObject({ value: { summary: "succeeded: attempt 1 on host-1" } });
    const listed = await askApi(mesh.bus, "list", {});
    expect(listed.ok && listed.value.data.map(({ taskId }) => taskId)).toEqual([
      "unfinished",
      "dead",
      "done",
    ]);
    expect(await askApi(mesh.bus, "dead", {})).toMatchObject({ value: { data: [] } });
    const gone = { code: "not_found", message: expect.stringContaining("no longer on the log") as string };
    expect(await askApi(mesh.bus, "retry", { taskId: "dead" })).toMatchObject({ error: gone });
    expect(await askApi(mesh.bus, "retryAll", {})).toMatchObject({ value: { retried: [], refused: [] } });
    const conflict = { error: { code: "conflict" } };
    expect(await askApi(mesh.bus, "cancel", { taskId: "done" })).toMatchObject(conflict);
    expect(await submitTask(bus, request({ taskId: "done" }))).toMatchObject(conflict);
    const events = await collect(readEvents(`${mesh.url}/v1/tasks/done/events`));
    expect(events.map(({ event }) => event)).toEqual(["succeeded"]);

    // Said without the guard, as the server would refuse it otherwise.
    await say(bus, "done", "requested", "normal", { ...request(), after: 0 });
    await say(bus, "done", "started", "host-1", { attempt: 2, nonce: "n2" });
    expect(await askApi(mesh.bus, "list", { state: "queued" })).toMatchObject({
      value: { data: [{ taskId: "unfinished" }] },
    });
    expect(await askApi(mesh.bus, "get", { taskId: "done" })).toMatchObject({
      value: { state: "succeeded", attempt: 1 },
    });
  });

  it("keeps its story for as long as the configuration says, and is one of few at a time to lose it", async () => {
    await using nats = await startNats();
    await using bus = await openBus(nats.url);
    const ids = Array.from({ length: 3 * PURGED_AT_ONCE }, (_, number) => `t${number}`);
    for (const taskId of ids) {
      await submitted(bus, taskId);
      await sayStarted(bus, taskId);
      await saySucceeded(bus, taskId);
    }
    let keepMs = 3_600_000;
    await using retention = await retaining(bus, () => keepMs);
    await vi.waitUntil(() => retention.brokerNowMs.mock.calls.length >= 3, DEADLINE);
    expect(retention.rounds).toEqual([]);
    keepMs = 0;
    await vi.waitUntil(() => retention.rounds.length >= 3, DEADLINE);
    for (const taskId of ids) expect(await kindsOf(bus, taskId)).toEqual(["succeeded"]);
    expect(retention.rounds).toEqual([PURGED_AT_ONCE, PURGED_AT_ONCE, PURGED_AT_ONCE]);
  });

  it("keeps what its end does not fit, and what nobody can decode", async () => {
    await using nats = await startNats();
    await using bus = await openBus(nats.url);
    await say(bus, "unreadable", "requested", "normal", "no JSON at all");
    await say(bus, "unreadable", "rejected", "control", { message: "unreadable" });
    await submitted(bus, "guarded");
    await sayStarted(bus, "guarded");
    await saySucceeded(bus, "guarded");
    await submitted(bus, "unfit");
    await sayStarted(bus, "unfit");
    const result = { exitCode: 0, durationMs: 1, phases: {}, checks: [], artifacts: [] };
    await say(bus, "unfit", "succeeded", "host-1", { after: 0, attempt: 1, nonce: "n", result });
    await submitted(bus, "last");
    await sayStarted(bus, "last");
    await saySucceeded(bus, "last");
    await shrink(bus, async () => {
      const kinds = await Promise.all(["guarded", "last"].map((taskId) => kindsOf(bus, taskId)));
      return kinds.every(({ length }) => length === 1);
    });
    expect(await kindsOf(bus, "unreadable")).toEqual(["requested", "rejected"]);
    expect(await kindsOf(bus, "unfit")).toEqual(["requested", "started", "succeeded"]);
    expect(await kindsOf(bus, "guarded")).toEqual(["succeeded"]);
  });
});
