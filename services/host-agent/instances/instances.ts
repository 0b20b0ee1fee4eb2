// The instances of this host: carries out what their rules say, one step at a time for each, and lends them to
// attempts. What takes long, such as a machine that starts, never keeps anybody else waiting.
import { setTimeout as delay } from "node:timers/promises";
import type { Logger } from "pino";
import type { Guest } from "../supervisor/guest-keeper.ts";
import { machineEvents } from "./events.ts";
import {
  after,
  freeInstances,
  type InstanceFact,
  type InstanceRecord,
  type InstanceRules,
  isSpent,
  type Situation,
  type Step,
  stepsOf,
} from "./life.ts";
import type { Machine, MachineSource } from "./machine.ts";
import { exchangeQueue } from "./queue.ts";

/** One attempt's, until it gives it back. */
export interface HeldInstance {
  readonly machine: Machine;
  giveBack(): void;
  /**
   * Gives it back for good, and resolves with one that nothing has run in, once what was given back is no more. Rejects
   * with the signal's reason; then the attempt has none.
   */
  exchange(signal: AbortSignal): Promise<HeldInstance>;
}

export interface Instances extends AsyncDisposable {
  /**
   * One that may run something now, with the stretch of lease that allows it; null if there is none, and then one is
   * made if there may be.
   */
  take(): { instance: HeldInstance; stretch: string } | null;
  /** So many attempts could begin at once now. */
  free(): number;
  /** Why none could be made the last time, in words; null if one was. */
  problem(): string | null;
  /** Those that are up. */
  machines(): Machine[];
  /** The first that comes up; rejects when that fails. */
  readonly first: Promise<Machine>;
  onOpened(listener: (machine: Machine) => unknown): void;
  onFrozen(listener: (guest: Guest, attemptKey: string) => void): void;
  onDied(listener: (guest: Guest, reason: string) => void): void;
}

const LOOK_MS = 1_000;
/** What could not be removed is tried again after this, ms. */
const REMOVE_AGAIN_MS = 10_000;
/** A service that is stopped has little time; what hangs cannot act once its lease is over, ms. */
const CLOSE_MS = 10_000;

export function startInstances(options: {
  source: MachineSource;
  rules: InstanceRules;
  log: Logger;
}): Instances {
  const { source, rules, log } = options;
  const now = () => performance.now();
  const instances: InstanceRecord[] = Array.from({ length: rules.most }, (_, index) => ({
    number: index + 1,
    state: "absent",
    sinceMs: now(),
    tasks: 0,
    heardAtMs: Number.NEGATIVE_INFINITY,
    answers: false,
  }));
  const machines = new Map<number, Machine>();
  const { meet, onOpened, onFrozen, onDied } = machineEvents();
  const first = Promise.withResolvers<Machine>();
  first.promise.catch(() => {});
  const closing = new AbortController();
  const atWork = new Set<Promise<void>>();
  const beingRemoved = new Set<number>();
  const waiting = exchangeQueue<HeldInstance>();
  let wanted = false;
  let failures = 0;
  let problem: string | null = null;
  let failedAtMs = Number.NEGATIVE_INFINITY;

  const situation = (): Situation => ({
    instances,
    wanted,
    waiting: waiting.length,
    failures,
    failedAtMs,
  });
  const recordOf = (number: number): InstanceRecord => {
    const record = instances[number - 1];
    if (record === undefined) throw new Error(`there is no instance ${number}`);
    return record;
  };

  function tell(number: number, fact: InstanceFact): void {
    instances[number - 1] = after(recordOf(number), fact, now());
  }

  function listen(): void {
    for (const [number, { guest }] of machines) {
      const answers = guest.hello() !== null;
      instances[number - 1] = { ...recordOf(number), answers, ...(answers && { heardAtMs: now() }) };
    }
  }

  function look(): void {
    if (closing.signal.aborted) return;
    listen();
    waiting.serve(lendNext);
    // What follows from one of them is seen at the next look: each of these was decided once.
    for (const step of stepsOf(situation(), rules, now())) take(step);
  }

  function take({ act, number }: Step): void {
    switch (act) {
      case "create":
        tell(number, "wanted");
        return work(create(number));
      case "dismiss":
        return tell(number, "dismissed");
      case "fail":
        log.error({ instance: number }, "an instance does not answer, and is made anew");
        return tell(number, "failed");
      case "remove":
        if (!beingRemoved.has(number)) work(remove(number));
        return;
    }
  }

  function work(doing: Promise<void>): void {
    const done = doing.finally(() => {
      atWork.delete(done);
      look();
    });
    atWork.add(done);
  }

  async function create(number: number): Promise<void> {
    const beganMs = now();
    try {
      const machine = await source.open(number, closing.signal);
      machines.set(number, machine);
      meet(machine);
      tell(number, "created");
      failures = 0;
      problem = null;
      wanted = false;
      first.resolve(machine);
    } catch (error) {
      tell(number, "failed");
      // Several that fail together, as those of one machine do, have failed once.
      if (beganMs > failedAtMs) failures++;
      failedAtMs = now();
      problem = error instanceof Error ? error.message : String(error);
      first.reject(error);
      if (!closing.signal.aborted) log.error({ error, instance: number }, "an instance could not be made");
    }
  }

  async function remove(number: number): Promise<void> {
    beingRemoved.add(number);
    machines.delete(number);
    try {
      await source.close(number);
      tell(number, "removed");
      waiting.gone(number);
      beingRemoved.delete(number);
    } catch (error) {
      log.error({ error, instance: number }, "an instance could not be removed");
      setTimeout(() => beingRemoved.delete(number), REMOVE_AGAIN_MS).unref();
    }
  }

  /** The one used last first, so that those nobody needs grow old. */
  function usable(): { number: number; machine: Machine; stretch: string }[] {
    return instances
      .filter(({ state }) => state === "ready")
      .toSorted((one, other) => other.sinceMs - one.sinceMs)
      .flatMap(({ number }) => {
        const machine = machines.get(number);
        const stretch = machine?.guest.stretch() ?? null;
        return machine === undefined || stretch === null ? [] : [{ number, machine, stretch }];
      });
  }

  function lendNext(): HeldInstance | null {
    const [next] = usable();
    return next === undefined ? null : lend(next.number, next.machine);
  }

  function lend(number: number, machine: Machine): HeldInstance {
    tell(number, "taken");
    let held = true;
    return {
      machine,
      giveBack() {
        if (!held) return;
        held = false;
        tell(number, "returned");
        tell(number, isSpent(recordOf(number), rules) ? "dismissed" : "cleaned");
        look();
      },
      exchange(signal) {
        held = false;
        tell(number, "returned");
        tell(number, "dismissed");
        const exchanged = waiting.join(number, signal);
        look();
        return exchanged;
      },
    };
  }

  look();
  const timer = setInterval(look, LOOK_MS);
  return {
    take() {
      const [next, ...others] = usable();
      // Those who wait have done half their work.
      const isFree = next !== undefined && others.length >= waiting.length;
      const taken = isFree ? { instance: lend(next.number, next.machine), stretch: next.stretch } : null;
      wanted ||= taken === null;
      look();
      return taken;
    },
    problem: () => problem,
    free() {
      listen();
      return freeInstances(situation(), rules, now());
    },
    machines: () => [...new Set(machines.values())],
    first: first.promise,
    onOpened,
    onFrozen,
    onDied,
    async [Symbol.asyncDispose]() {
      clearInterval(timer);
      closing.abort();
      const isClosed = Promise.all(atWork).then(async () => {
        await source[Symbol.asyncDispose]();
        return true;
      });
      if (!(await Promise.race([isClosed, delay(CLOSE_MS, false, { ref: false })])))
        log.error("instances do not end in time: what they have left is ended when this host begins again");
    },
  };
}
