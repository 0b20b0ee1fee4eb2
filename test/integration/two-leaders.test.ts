// Two schedulers and two trackers that each believe they lead, again and again: what is said is said once.
import { setTimeout as delay } from "node:timers/promises";
import { Kvm } from "@nats-io/kv";
import { pino } from "pino";
import { expect, it, vi } from "vitest";
import { start as startScheduler } from "../../services/scheduler/main.ts";
import { start as startTracker } from "../../services/status-tracker/main.ts";
import { factsOfTask } from "../../shared/bus/read.ts";
import { LEASES } from "../../shared/bus/streams.ts";
import { submitTask } from "../../shared/bus/submit.ts";
import { contextFor, openBus } from "../support/bus.ts";
import { request } from "../support/facts.ts";
import { startNats } from "../support/nats.ts";
import { startScriptedHost } from "../support/scripted-host.ts";

const DEADLINE = { timeout: 30_000, interval: 25 };
const TASKS = 30;

/** Who has led, as each has logged it, in order. */
interface Led {
  who: string;
  leads: boolean;
}

it("two schedulers and two trackers that both believe they lead say and begin everything once", async () => {
  await using nats = await startNats();
  await using bus = await openBus(nats.url);
  await using stack = new AsyncDisposableStack();
  const led: Led[] = [];
  for (const number of [1, 2]) {
    // They look at their lease once a second: half a second apart, each believes in its own for half of every second
    // in which the other has it already.
    await delay(number === 2 ? 500 : 0);
    for (const [service, start] of [
      ["tracker", startTracker],
      ["scheduler", startScheduler],
    ] as const) {
      const write = (line: string) => {
        const said = JSON.parse(line) as { msg?: string; leads?: boolean };
        if (said.msg === "leadership") led.push({ who: `${service} ${number}`, leads: said.leads === true });
      };
      stack.use(await start({ ...contextFor(nats.url), log: pino({ level: "info" }, { write }) }));
    }
  }
  const host = stack.use(
    await startScriptedHost(bus, "h1", {
      about: {
        slots: { total: TASKS, free: TASKS },
        memory: { totalBytes: 2 ** 40, availableBytes: 2 ** 40 },
      },
    }),
  );

  const leases = await new Kvm(bus.js).open(LEASES.bucket);
  let over = false;
  const quarrel = (async () => {
    // Whoever had the key believes in it until its next turn; the other finds none, and takes it.
    while (!over) {
      for (const role of ["scheduler", "status-tracker"]) await leases.purge(role);
      await delay(50);
    }
  })();
  try {
    for (const service of ["tracker", "scheduler"]) await vi.waitUntil(() => bothLed(led, service), DEADLINE);
    const before = led.length;
    for (let number = 0; number < TASKS; number++) {
      await submitTask(bus, request({ taskId: `t${number}`, resources: { memoryBytes: 1, cpus: 0.01 } }));
      await delay(100);
    }
    await vi.waitUntil(() => host.attempts.length === TASKS, DEADLINE);
    for (let number = 0; number < TASKS; number++) {
      await host.say(`t${number}`, "faulted", { failure: { category: "agent", message: "scripted so" } });
      await delay(100);
    }
    const kindsOf = async (number: number) => (await factsOfTask(bus, `t${number}`)).map(({ kind }) => kind);
    for (let number = 0; number < TASKS; number++) {
      await vi.waitUntil(async () => (await kindsOf(number)).includes("failed"), DEADLINE);
      expect(await kindsOf(number)).toEqual(["requested", "started", "faulted", "failed"]);
    }
    // It went on all the while.
    expect(led.length).toBeGreaterThan(before + 4);
  } finally {
    over = true;
    await quarrel;
  }
});

/** One of them began to lead before the other had noticed that it no longer did. */
function bothLed(led: Led[], service: string): boolean {
  const leading = new Set<string>();
  return led
    .filter(({ who }) => who.startsWith(service))
    .some(({ who, leads }) => {
      if (leads) leading.add(who);
      else leading.delete(who);
      return leading.size > 1;
    });
}
