// What the host agent keeps between itself and its supervisors, over their lives.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { pino } from "pino";
import { expect, it, vi } from "vitest";
import { endFormerLife } from "../../services/host-agent/guest/former-life.ts";
import { type Guest, keepGuest } from "../../services/host-agent/supervisor/guest-keeper.ts";
import { localSupervisorCommand } from "../../services/host-agent/supervisor/supervisor-command.ts";
import { isAlive } from "../support/nats.ts";
import { DEADLINE } from "../support/supervisor.ts";

async function keep({
  silenceMs = 60_000,
} = {}): Promise<{ guest: Guest; folder: string } & AsyncDisposable> {
  const folder = mkdtempSync(path.join(tmpdir(), "mesh-keeper-"));
  const stateDir = path.join(folder, "state");
  const times = { leaseMs: 60_000, checkMs: 25, frozenLimitMs: 60_000 };
  const guest = await keepGuest({
    command: async () => localSupervisorCommand({ stateDir, ...times }),
    silenceMs,
    endFormerLife: () => endFormerLife(stateDir),
    log: pino({ level: "silent" }),
  });
  await guest.firstStamp();
  return {
    guest,
    folder,
    async [Symbol.asyncDispose]() {
      await guest[Symbol.asyncDispose]();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Its supervisor's. Throws while there is none: 0 would be this test's own process group. */
function pidOf(guest: Guest): number {
  const hello = guest.hello();
  if (hello === null) throw new Error("there is no supervisor");
  return hello.pid;
}

/** Kills the supervisor, and waits for the next. */
async function nextLife(guest: Guest): Promise<void> {
  const former = pidOf(guest);
  process.kill(former, "SIGKILL");
  await vi.waitUntil(() => guest.hello() !== null && guest.hello()?.pid !== former, DEADLINE);
  await guest.firstStamp();
}

it("a stamp that comes back after its supervisor has died gives the next one no lease, and keeps it from none", async () => {
  await using kept = await keep();
  const { guest } = kept;
  const late = guest.takeStamp();
  await nextLife(guest);
  late?.();
  // Answered after the stamp was heard, and the second time after that was told.
  for (let question = 0; question < 2; question++) await guest.thaw("nobody", "none");
  expect(guest.stretch()).toBeNull();
  guest.takeStamp()?.();
  await vi.waitUntil(() => guest.stretch() !== null, DEADLINE);
});

it("a supervisor that hangs is replaced, and nothing of it goes on", async () => {
  await using kept = await keep({ silenceMs: 3_000 });
  const { guest } = kept;
  const former = pidOf(guest);
  const died = new Promise((told) => guest.onDied(told));
  process.kill(former, "SIGSTOP");
  expect(await died).toBe("it has said nothing for 3000 ms");
  expect(await isAlive(former)).toBe(false);
  await vi.waitUntil(() => guest.hello() !== null, DEADLINE);
  expect(guest.hello()?.pid).not.toBe(former);
});

it("no stretch of lease has the name of one in a former life", async () => {
  await using kept = await keep();
  const { guest } = kept;
  guest.takeStamp()?.();
  const first = await guest.nextStretch(new AbortController().signal);
  await nextLife(guest);
  guest.takeStamp()?.();
  const second = await guest.nextStretch(new AbortController().signal);
  expect(second).not.toBe(first);
  expect(await guest.thaw("a", String(first))).toBe("gone");
});

it("tells of a death, and what it kept running is over by then", async () => {
  await using kept = await keep();
  const { guest, folder } = kept;
  const died = new Promise((told) => guest.onDied(told));
  guest.takeStamp()?.();
  const stretch = String(await guest.nextStretch(new AbortController().signal));
  const spec = { attempt: "a", stretch, argv: ["/bin/sleep", "1000"], cwd: folder, env: {} };
  const { finished } = guest.exec({ ...spec, stdin: "none" }, () => {});
  process.kill(pidOf(guest), "SIGKILL");
  expect(await died).toBe("it was ended by SIGKILL");
  expect(await finished).toMatchObject({ cause: "supervisor-died" });
  await guest.release("a");
});

it("whoever waits for an attempt's end waits until it is gone, though somebody else had it ended", async () => {
  await using kept = await keep();
  const { guest } = kept;
  guest.takeStamp()?.();
  const stretch = (await guest.nextStretch(new AbortController().signal)) ?? "";
  const begun = Promise.withResolvers<void>();
  const deaf = ["/bin/sh", "-c", "trap '' TERM; echo begun; while :; do sleep 0.05; done"];
  const spec = { attempt: "a", stretch, argv: deaf, cwd: "/", env: { PATH: process.env.PATH ?? "" } };
  const running = guest.exec({ ...spec, stdin: "none", killGraceMs: 200 }, () => begun.resolve());
  let isGone = false;
  void running.finished.then(() => {
    isGone = true;
  });
  await begun.promise;
  void guest.release("a");
  await guest.release("a");
  expect(isGone).toBe(true);
});
