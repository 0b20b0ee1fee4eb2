// What is done to a fleet, one fault after the other, at times and with victims that chance decides. Whatever is
// broken is mended after a while, and all of it at the end.
import { setTimeout as delay } from "node:timers/promises";
import { signalAll } from "../../services/host-agent/guest/processes.ts";
import type { Chance } from "../../services/simulator/chance.ts";
import type { Direction } from "../support/link.ts";
import type { Fleet, Member } from "./fleet.ts";

export interface FaultLog {
  /** One line for each fault, with its time. */
  lines: string[];
  wakes: { hostId: string; atMs: number }[];
}

const PAUSE_MS = 1_500;

type Fault = (victim: Member) => Promise<void>;

/** Resolves when the signal has aborted and everything is whole again. */
export async function injectFaults(
  fleet: Fleet,
  {
    chance,
    leaseMs,
    signal,
    say,
  }: { chance: Chance; leaseMs: number; signal: AbortSignal; say: (line: string) => void },
): Promise<FaultLog> {
  const done: FaultLog = { lines: [], wakes: [] };
  const beganMs = performance.now();
  const note = (text: string) => {
    const line = `${((performance.now() - beganMs) / 1_000).toFixed(1).padStart(6)} s  ${text}`;
    done.lines.push(line);
    say(line);
  };
  const broken = new Set<string>();
  const under = new Set<Promise<void>>();
  /** Shorter than a lease, or long enough to be called lost. */
  const span = () => (chance.next() < 0.5 ? chance.between(0.1, 0.8) : chance.between(1.4, 2.5)) * leaseMs;
  const pause = (ms: number) => delay(ms, undefined, { signal }).catch(() => {});

  const kill: Fault = async (victim) => {
    const downMs = chance.next() < 0.7 ? 0 : span();
    note(`kill -9 ${victim.name}, down for ${Math.round(downMs)} ms`);
    victim.keepDown(downMs);
    victim.signal("SIGKILL");
    await pause(downMs);
  };
  const end: Fault = async (victim) => {
    note(`SIGTERM ${victim.name}`);
    victim.signal("SIGTERM");
  };
  const killSupervisor: Fault = async (victim) => {
    const [, supervisor] = victim.tree();
    if (supervisor === undefined) return;
    note(`kill -9 the supervisor of ${victim.name}`);
    signalAll([supervisor], "SIGKILL");
  };
  const stop: Fault = async (victim) => {
    const ms = span();
    const pid = victim.pid();
    if (pid === null) return;
    note(`SIGSTOP ${victim.name} for ${Math.round(ms)} ms`);
    signalAll([pid], "SIGSTOP");
    await pause(ms);
    signalAll([pid], "SIGCONT");
  };
  const sleep: Fault = async (victim) => {
    const ms = span();
    const tree = victim.tree();
    note(`all of ${victim.name} asleep for ${Math.round(ms)} ms`);
    signalAll(tree, "SIGSTOP");
    await pause(ms);
    done.wakes.push({ hostId: victim.name, atMs: Date.now() });
    signalAll(tree, "SIGCONT");
  };
  const cut: Fault = async (victim) => {
    const ms = span();
    const direction = chance.pick<Direction>(["both", "toBus", "fromBus"]);
    note(`cut ${victim.name} (${direction}) for ${Math.round(ms)} ms`);
    victim.link.cut(direction);
    await pause(ms);
    victim.link.mend();
  };
  const ofServices: [Fault, ...Fault[]] = [kill, kill, end, stop, cut];
  const ofHosts: [Fault, ...Fault[]] = [kill, end, killSupervisor, stop, sleep, sleep, cut, cut];

  while (!signal.aborted) {
    await pause(-Math.log(1 - chance.next()) * PAUSE_MS);
    if (signal.aborted) break;
    if (chance.next() < 0.05 && !broken.has("bus")) {
      note("kill -9 nats-server");
      track("bus", fleet.bus.kill());
      continue;
    }
    const whole = fleet.members.filter(({ name, pid }) => !broken.has(name) && pid() !== null);
    const [first, ...others] = whole;
    if (first === undefined) continue;
    const victim = chance.pick([first, ...others]);
    const fault = chance.pick(victim.service === "host-agent" ? ofHosts : ofServices);
    track(victim.name, fault(victim));
  }
  await Promise.all(under);
  return done;

  function track(name: string, fault: Promise<void>): void {
    broken.add(name);
    const over = fault.finally(() => {
      broken.delete(name);
      under.delete(over);
    });
    under.add(over);
  }
}
