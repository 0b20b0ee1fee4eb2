// What a host does about a tree that freezes just when it is let go on, or that goes on under another supervisor: those
// are scripted, because no real one can be made to do it in that moment; log and tracker are real.
import { setTimeout as delay } from "node:timers/promises";
import { pino } from "pino";
import { expect, it, vi } from "vitest";
import type { Capacity } from "../../services/host-agent/held/admission.ts";
import { Attempts } from "../../services/host-agent/held/attempts.ts";
import type { Executor, Outcome } from "../../services/host-agent/held/executor.ts";
import { finishedIn } from "../../services/host-agent/held/finished.ts";
import { Voice } from "../../services/host-agent/held/voice.ts";
import type { Guest } from "../../services/host-agent/supervisor/guest-keeper.ts";
import type { Thawing } from "../../services/host-agent/supervisor/supervisor-link.ts";
import { askTracker } from "../../shared/bus/append.ts";
import { askApi } from "../../shared/bus/ask.ts";
import { capacity } from "../support/capacity.ts";
import { DEADLINE, type HostMesh, startHostMesh } from "../support/host.ts";
import { instancesOn } from "../support/instances.ts";

/** A supervisor that answers as told when an attempt is to go on. */
function scriptedGuest(
  thaw: (key: string) => Thawing,
  release: () => Promise<void> = async () => {},
  stretch = "s.1",
): { guest: Guest; freeze: (key: string) => void } {
  let freeze: (key: string) => void = () => {};
  const guest: Guest = {
    hello: () => null,
    takeStamp: () => null,
    firstStamp: async () => {},
    stretch: () => stretch,
    nextStretch: async () => stretch,
    useOf: () => null,
    exec() {
      throw new Error("nothing is to be run");
    },
    serve() {
      throw new Error("nothing is to be run");
    },
    clockSkewMs: () => null,
    freeze() {},
    thaw: async (key) => thaw(key),
    answerAt() {},
    release,
    onFrozen: (listener) => {
      freeze = listener;
    },
    onDied() {},
    [Symbol.asyncDispose]: async () => {},
  };
  return { guest, freeze: (key) => freeze(key) };
}

const attemptsOf = (
  mesh: HostMesh,
  guest: Guest,
  executor: Executor,
  { next, ...here }: Partial<Capacity> & { next?: () => Promise<Guest> } = {},
) =>
  new Attempts({
    hostId: "h1",
    voice: new Voice(mesh.bus, askTracker(mesh.bus)),
    instances: instancesOn(guest, next),
    executor,
    finished: finishedIn(mesh.folder),
    log: pino({ level: "silent" }),
    tellOvertaken: () => {},
    capacity: () => capacity({ slots: 1, ...here }),
    moment: () => ({ installation: "i", boot: 1, counter: 1 }),
  });

it("a tree that freezes again while it is let go on is asked about again", async () => {
  await using mesh = await startHostMesh();
  let key = "";
  let thaws = 0;
  const { guest, freeze } = scriptedGuest((frozen) => {
    if (++thaws === 1) freeze(frozen);
    return "thawed";
  });
  const attempts = attemptsOf(mesh, guest, async ({ attemptKey, signal }) => {
    key = attemptKey;
    await new Promise((stopped) => signal.addEventListener("abort", stopped));
    throw signal.reason;
  });
  const task = await mesh.submit("true");
  expect(await attempts.run(await task.order())).toMatchObject({ outcome: "started" });
  freeze(key);
  await task.said("resumed", 2);
  await vi.waitFor(() => expect(thaws).toBe(2), DEADLINE);
  await attempts.close({ category: "host", message: "the test is over" }, 5_000);
  await task.said("faulted");
  expect((await task.kinds()).slice(0, 5)).toEqual(["requested", "started", "resumed", "resumed", "faulted"]);
});

it("what has ended while it stood still does not ask for ever whether it may go on", async () => {
  await using mesh = await startHostMesh();
  let key = "";
  const end = Promise.withResolvers<void>();
  const { guest, freeze } = scriptedGuest(
    () => {
      // The supervisor has ended it meanwhile, and knows nothing of it any more.
      end.resolve();
      return "gone";
    },
    () => delay(500),
  );
  const attempts = attemptsOf(mesh, guest, async ({ attemptKey }): Promise<Outcome> => {
    key = attemptKey;
    await end.promise;
    return { ok: false, failure: { category: "host", message: "it was frozen too long" } };
  });
  const task = await mesh.submit("true");
  expect(await attempts.run(await task.order())).toMatchObject({ outcome: "started" });
  freeze(key);
  await task.said("faulted");
  await attempts.close({ category: "host", message: "the test is over" }, 5_000);
  const asked = (await task.kinds()).filter((kind) => kind === "resumed");
  expect(asked).toEqual(["resumed"]);
});

it("goes on under another supervisor in a stretch of that one's, which the log is asked about", async () => {
  await using mesh = await startHostMesh();
  const { guest: other } = scriptedGuest(() => "gone", undefined, "t.1");
  const seen: string[] = [];
  let freezeFirst = () => {};
  // It stands still while it is to be moved, and its supervisor knows nothing of it any more.
  const { guest, freeze } = scriptedGuest(
    () => "gone",
    async () => freezeFirst(),
  );
  const executor: Executor = async ({ attemptKey, stretch, moveOn }) => {
    freezeFirst = () => freeze(attemptKey);
    seen.push(await stretch());
    await moveOn(60_000);
    seen.push(await stretch());
    return { ok: false, failure: { category: "gate", message: "it was judged" } };
  };
  const attempts = attemptsOf(mesh, guest, executor, { next: async () => other });
  const task = await mesh.submit("true");
  expect(await attempts.run(await task.order())).toMatchObject({ outcome: "started" });
  expect(await task.said("faulted")).toMatchObject({ failure: { category: "gate" } });
  await attempts.close({ category: "host", message: "the test is over" }, 5_000);
  expect(seen).toEqual(["s.1", "t.1"]);
  const asked = (await task.kinds()).filter((kind) => kind === "resumed");
  expect(asked.length).toBeLessThan(4);
});

it("runs nothing under another supervisor if its task was cancelled on the way there", async () => {
  await using mesh = await startHostMesh();
  const onItsWay = Promise.withResolvers<void>();
  const there = Promise.withResolvers<Guest>();
  const { guest } = scriptedGuest(() => "thawed");
  let hasMoved = false;
  const executor: Executor = async ({ moveOn, stretch }) => {
    await stretch();
    await moveOn(60_000);
    hasMoved = true;
    return { ok: false, failure: { category: "gate", message: "it was judged" } };
  };
  const next = () => {
    onItsWay.resolve();
    return there.promise;
  };
  const attempts = attemptsOf(mesh, guest, executor, { next });
  const task = await mesh.submit("true");
  expect(await attempts.run(await task.order())).toMatchObject({ outcome: "started" });
  await onItsWay.promise;
  expect(await askApi(mesh.bus, "cancel", { taskId: task.taskId })).toMatchObject({ ok: true });
  there.resolve(scriptedGuest(() => "thawed", undefined, "t.1").guest);
  await task.said("cancelled");
  await attempts.close({ category: "host", message: "the test is over" }, 5_000);
  expect(hasMoved).toBe(false);
  expect(await task.said("faulted")).toMatchObject({ failure: { category: "cancelled" } });
});

it("an attempt whose memory limit has no room beside the others' in a virtual machine is refused, and another not", async () => {
  await using mesh = await startHostMesh();
  const given: number[] = [];
  const { guest } = scriptedGuest(() => "thawed");
  const executor: Executor = async ({ memoryLimitBytes, signal }) => {
    given.push(memoryLimitBytes);
    await new Promise((stopped) => signal.addEventListener("abort", stopped));
    throw signal.reason;
  };
  const GIB = 1_073_741_824;
  const attempts = attemptsOf(mesh, guest, executor, { slots: 5, vmMemoryBytes: 6 * GIB });
  const begin = async (overrides = {}) => attempts.run(await (await mesh.submit("true", overrides)).order());
  expect(await begin()).toMatchObject({ outcome: "started" });
  expect(await begin()).toMatchObject({ outcome: "refused", reason: "memory" });
  expect(await begin({ limits: { memoryBytes: GIB } })).toMatchObject({ outcome: "started" });
  expect(given).toEqual([4 * GIB, GIB]);
  await attempts.close({ category: "host", message: "the test is over" }, 5_000);
});
