// What a host does about a tree that freezes just when it is let go on: the supervisor is scripted, because no real
// one can be made to do it in that moment; log and tracker are real.
import { pino } from "pino";
import { expect, it, vi } from "vitest";
import { Attempts } from "../../services/host-agent/attempts.ts";
import type { Outcome } from "../../services/host-agent/executor.ts";
import { finishedIn } from "../../services/host-agent/finished.ts";
import type { Guest } from "../../services/host-agent/guest-keeper.ts";
import { Voice } from "../../services/host-agent/voice.ts";
import { askTracker } from "../../shared/bus/append.ts";
import { capacity } from "../support/capacity.ts";
import { DEADLINE, startHostMesh } from "../support/host.ts";

/** Freezes the attempt again while it answers that it has let it go on, the first `times` times. */
function scriptedGuest(times: number): { guest: Guest; thaws: () => number; freeze: (key: string) => void } {
  let thaws = 0;
  let freeze: (key: string) => void = () => {};
  const guest: Guest = {
    hello: () => null,
    takeStamp: () => null,
    firstStamp: async () => {},
    stretch: () => "s.1",
    nextStretch: async () => "s.1",
    exec() {
      throw new Error("nothing is to be run");
    },
    freeze() {},
    async thaw(key) {
      if (++thaws <= times) freeze(key);
      return true;
    },
    release: async () => {},
    onFrozen: (listener) => {
      freeze = listener;
    },
    onDied() {},
    [Symbol.asyncDispose]: async () => {},
  };
  return { guest, thaws: () => thaws, freeze: (key) => freeze(key) };
}

it("a tree that freezes again while it is let go on is asked about again", async () => {
  await using mesh = await startHostMesh();
  const { guest, thaws, freeze } = scriptedGuest(1);
  let key = "";
  const attempts = new Attempts({
    hostId: "h1",
    voice: new Voice(mesh.bus, askTracker(mesh.bus)),
    guest,
    executor: async ({ attemptKey, signal }): Promise<Outcome> => {
      key = attemptKey;
      await new Promise((stopped) => signal.addEventListener("abort", stopped));
      throw signal.reason;
    },
    finished: finishedIn(mesh.folder),
    log: pino({ level: "silent" }),
    tellOvertaken: () => {},
    capacity: () => capacity({ slots: 1 }),
    moment: () => ({ installation: "i", boot: 1, counter: 1 }),
  });
  const task = await mesh.submit("true");
  expect(await attempts.run(await task.order())).toMatchObject({ outcome: "started" });
  freeze(key);
  await task.said("resumed", 2);
  await vi.waitFor(() => expect(thaws()).toBe(2), DEADLINE);
  await attempts.close({ category: "host", message: "the test is over" }, 5_000);
  await task.said("faulted");
  expect((await task.kinds()).slice(0, 5)).toEqual(["requested", "started", "resumed", "resumed", "faulted"]);
});
