import { describe, expect, it, vi } from "vitest";
import { start as startTracker } from "../../services/status-tracker/main.ts";
import { type Appended, appendFact, askTracker, type Truth } from "../../shared/bus/append.ts";
import { type Bus, connectBus } from "../../shared/bus/connect.ts";
import { factsOfTask } from "../../shared/bus/read.ts";
import { submitTask } from "../../shared/bus/submit.ts";
import type { Fact, Malformed, NewFact } from "../../shared/contracts/fact.ts";
import { answer, refuse } from "../../shared/contracts/failure.ts";
import { contextFor, openBus } from "../support/bus.ts";
import { request } from "../support/facts.ts";
import { openLink } from "../support/link.ts";
import { startMortalNats, startNats } from "../support/nats.ts";

const kindsOf = async (bus: Bus, taskId: string) => (await factsOfTask(bus, taskId)).map(({ kind }) => kind);

const requested = (taskId: string): NewFact => ({
  taskId,
  kind: "requested",
  speaker: "normal",
  body: { ...request(), after: 0 },
});
const cancelRequested = (taskId: string, after: number, reason = "on request"): NewFact => ({
  taskId,
  kind: "cancelRequested",
  speaker: "control",
  body: { after, reason },
});

/** Read from the log itself. */
const truthOn =
  (bus: Bus): Truth<(Fact | Malformed)[]> =>
  async (taskId) =>
    answer(await factsOfTask(bus, taskId));

const append = (bus: Bus, fact: NewFact, deadlineMs = 15_000): Promise<Appended<(Fact | Malformed)[]>> =>
  appendFact(bus, fact, { deadlineMs, truth: truthOn(bus) });

describe("a fact", () => {
  it("is appended when nothing was said since, and its sequence is told", async () => {
    await using nats = await startNats();
    await using bus = await openBus(nats.url);
    expect(await append(bus, requested("t1"))).toEqual({ outcome: "appended", sequence: 1 });
    expect(await append(bus, requested("t2"))).toEqual({ outcome: "appended", sequence: 2 });
    expect(await append(bus, cancelRequested("t1", 1))).toEqual({ outcome: "appended", sequence: 3 });
  });

  it("is refused when anything was said since, with what is true now", async () => {
    await using nats = await startNats();
    await using bus = await openBus(nats.url);
    await append(bus, requested("t1"));
    await append(bus, cancelRequested("t1", 1));
    const said = await append(bus, cancelRequested("t1", 1, "again"));
    expect(said).toMatchObject({
      outcome: "refused",
      now: [{ kind: "requested" }, { kind: "cancelRequested", body: { reason: "on request" } }],
    });
    expect(await kindsOf(bus, "t1")).toEqual(["requested", "cancelRequested"]);
  });

  it("gets on the log once, whichever of many speakers it is", async () => {
    await using nats = await startNats();
    await using bus = await openBus(nats.url);
    await append(bus, requested("t1"));
    const speakers = Array.from({ length: 20 }, (_, number) =>
      append(bus, cancelRequested("t1", 1, `speaker ${number}`)),
    );
    const outcomes = (await Promise.all(speakers)).map(({ outcome }) => outcome);
    expect(outcomes.filter((outcome) => outcome === "appended")).toHaveLength(1);
    expect(outcomes.filter((outcome) => outcome === "refused")).toHaveLength(19);
    expect(await kindsOf(bus, "t1")).toEqual(["requested", "cancelRequested"]);
  });

  it("that the log will never take is impossible, and not tried again", async () => {
    await using nats = await startNats();
    await using bus = await openBus(nats.url);
    for (const length of [600_000, 2_000_000])
      expect(await append(bus, cancelRequested("t1", 0, "x".repeat(length)))).toMatchObject({
        outcome: "impossible",
      });
  });

  it("whose answer got lost is there once, and the speaker is told what is true", async () => {
    await using nats = await startNats();
    await using link = await openLink(nats.port);
    await using bus = await openBus(nats.url);
    await using cutOff = await connectBus({ url: `nats://127.0.0.1:${link.port}`, name: "cut off" });
    link.cut("fromBus");
    const said = append(cutOff, requested("t1"));
    await vi.waitUntil(async () => (await kindsOf(bus, "t1")).length === 1, { timeout: 30_000 });
    link.mend();
    expect(await said).toMatchObject({ outcome: "refused", now: [{ kind: "requested", sequence: 1 }] });
    expect(await kindsOf(bus, "t1")).toEqual(["requested"]);
  });

  it("that never arrived is appended once the bus is back", async () => {
    await using nats = await startNats();
    await using link = await openLink(nats.port);
    await using bus = await openBus(nats.url);
    await using cutOff = await connectBus({ url: `nats://127.0.0.1:${link.port}`, name: "cut off" });
    link.cut("toBus");
    const said = append(cutOff, requested("t1"));
    await new Promise((sent) => setImmediate(sent));
    link.mend();
    expect((await said).outcome).toMatch(/appended|refused/);
    expect(await kindsOf(bus, "t1")).toEqual(["requested"]);
  });

  it("survives a server that is killed and started again while it is said", async () => {
    await using nats = await startMortalNats();
    await using bus = await openBus(nats.url);
    await append(bus, requested("t1"));
    await nats.kill();
    const said = append(bus, cancelRequested("t1", 1), 30_000);
    await nats.start();
    expect((await said).outcome).toMatch(/appended|refused/);
    expect(await kindsOf(bus, "t1")).toEqual(["requested", "cancelRequested"]);
  });

  it("is unknown when the log does not answer within the deadline, or nobody can tell what is true", async () => {
    await using nats = await startNats();
    await using link = await openLink(nats.port);
    await using bus = await openBus(nats.url);
    await using cutOff = await connectBus({ url: `nats://127.0.0.1:${link.port}`, name: "cut off" });
    link.cut("both");
    expect(await append(cutOff, requested("t1"), 100)).toMatchObject({ outcome: "unknown" });
    link.mend();
    await append(bus, requested("t2"));
    const truth = async () => refuse("unavailable", "nobody is there");
    expect(await appendFact(bus, requested("t2"), { deadlineMs: 300, truth })).toMatchObject({
      outcome: "unknown",
    });
  });
});

describe("a decision", () => {
  it("is not said any more once what it was made on has changed", async () => {
    await using nats = await startNats();
    await using link = await openLink(nats.port);
    await using bus = await openBus(nats.url);
    await using cutOff = await connectBus({ url: `nats://127.0.0.1:${link.port}`, name: "cut off" });
    const since = cutOff.connectedSince();
    link.cut("both");
    const said = appendFact(cutOff, requested("t1"), {
      deadlineMs: 60_000,
      truth: truthOn(bus),
      holds: () => cutOff.connectedSince() === since,
    });
    link.mend();
    expect(await said).toMatchObject({ outcome: "unknown", why: "what it was decided on has changed" });
    expect(await kindsOf(bus, "t1")).toEqual([]);
  });
});

describe("what is true", () => {
  it("is told by the tracker, once it has followed as far as the speaker asks", async () => {
    await using nats = await startNats();
    await using bus = await openBus(nats.url);
    await using tracker = await startTracker(contextFor(nats.url));
    await append(bus, requested("t1"));
    const said = await appendFact(bus, requested("t1"), { deadlineMs: 10_000, truth: askTracker(bus) });
    expect(said).toMatchObject({ outcome: "refused", now: { state: "queued", attempt: 0, lastSequence: 1 } });
    expect(tracker).toBeDefined();
  });
});

describe("a request", () => {
  it("that is submitted twice under one id is one task, whichever answer got lost", async () => {
    await using nats = await startNats();
    await using link = await openLink(nats.port);
    await using bus = await openBus(nats.url);
    await using cutOff = await connectBus({ url: `nats://127.0.0.1:${link.port}`, name: "cut off" });
    link.cut("fromBus");
    const submitted = submitTask(cutOff, request({ taskId: "t1" }));
    await vi.waitUntil(async () => (await kindsOf(bus, "t1")).length === 1, { timeout: 30_000 });
    link.mend();
    const same = answer({ taskId: "t1", sequence: 1, created: false });
    expect(await submitted).toEqual(same);
    expect(await submitTask(bus, request({ taskId: "t1" }))).toEqual(same);
    expect(await submitTask(bus, request({ taskId: "t1", branch: "other" }))).toMatchObject({
      error: { code: "conflict" },
    });
    expect(await kindsOf(bus, "t1")).toEqual(["requested"]);
  });
});
