// One simulated run: tasks arrive, a decider has them begun on machines, they end. What is true of the machines is known
// here; a decider is told what it may know. Every task that arrives ends, is killed, or is said to fit nowhere.
import { type Answer, answer, refuse } from "../../shared/contracts/failure.ts";
import { Agenda } from "./agenda.ts";
import { chance } from "./chance.ts";
import type { Machine } from "./machines.ts";
import { MEMORY_RAMP_MS, type Running } from "./running.ts";
import { SimulatedHost } from "./simulated-host.ts";
import { Tally } from "./tally.ts";
import type { Workload } from "./workload.ts";

export interface World {
  readonly agenda: Agenda;
  readonly hosts: SimulatedHost[];
  readonly workload: Workload;
  readonly tally: Tally;
  /** Has a pass made after this event. */
  wake(): void;
  /** The task runs on the host from now on, and is counted there with so much. */
  begin(task: number, host: SimulatedHost, counted: Running["counted"]): void;
}

/** Who decides what begins where. */
export interface Decider {
  arrived(task: number): void;
  /** `peakBytes`: the most memory that it used. */
  ended(task: number, host: SimulatedHost, how: "done" | "killed", peakBytes: number): void;
  /** Something has changed: has begin what can. */
  pass(): void | Promise<void>;
  /** Tasks that wait. */
  waiting(): number;
}

export interface RunOptions {
  machines: Machine[];
  workload: Workload;
  seed: number;
  heartbeatMs: number;
}

/** More tasks waiting at once than a run can go through again and again. */
export const MOST_WAITING = 100_000;

/** A pass is made at least so often while tasks wait, as the scheduler makes one, ms. */
export const SWEEP_MS = 500;
/** Tasks that wait while nothing runs and nothing begins for so long fit nowhere, ms. */
const HOPELESS_MS = 4 * 3_600_000;

export async function simulateRun(
  { machines, workload, seed, heartbeatMs }: RunOptions,
  deciderOf: (world: World) => Decider,
): Promise<Answer<Tally>> {
  const agenda = new Agenda();
  const runners = runnersOf(workload);
  const hosts = machines.map((machine, index) => {
    const id = `h${index + 1}`;
    return new SimulatedHost(id, { machine, runners, heartbeatMs, drawn: chance(seed, `owner of ${id}`) });
  });
  const tally = new Tally(workload, hosts);
  const { arrivalMs, workMs } = workload;
  const total = arrivalMs.length;
  let lastBeganMs = 0;
  let running = 0;
  let isDue = false;
  let isSweepPlanned = false;

  const planEnd = (host: SimulatedHost) => {
    const next = host.nextEnd(agenda.nowMs);
    if (next === null) return;
    const { changes } = host;
    agenda.at(next.atMs, () => {
      if (host.changes === changes) end(next.task, host, "done");
    });
  };
  const end = (task: number, host: SimulatedHost, how: "done" | "killed") => {
    // Less is used from now on: whoever ran out of memory until now did.
    if (how === "done") killWhatIsTooMuch(host);
    const peakBytes = host.end(task, agenda.nowMs);
    if (peakBytes === null) return;
    running--;
    tally.ended(task, host, how, agenda.nowMs);
    decider.ended(task, host, how, peakBytes);
    isDue = true;
    planEnd(host);
  };
  const killWhatIsTooMuch = (host: SimulatedHost) => {
    for (let task = host.outOfMemory(agenda.nowMs); task !== null; task = host.outOfMemory(agenda.nowMs))
      end(task, host, "killed");
  };
  const changeOwner = (host: SimulatedHost) => {
    const inMs = host.changeOwner(agenda.nowMs);
    killWhatIsTooMuch(host);
    planEnd(host);
    agenda.at(agenda.nowMs + inMs, () => changeOwner(host));
  };
  const arrive = (task: number) => {
    const next = task + 1;
    if (next < total) agenda.at(arrivalMs[next] as number, () => arrive(next));
    decider.arrived(task);
    isDue = true;
  };
  const sweep = () => {
    isSweepPlanned = false;
    isDue = decider.waiting() > 0;
  };
  const world: World = {
    agenda,
    hosts,
    workload,
    tally,
    wake: () => {
      isDue = true;
    },
    begin(task, host, counted) {
      const begun = {
        task,
        counted,
        usedBytes: workload.usedBytes[task] as number,
        usedCpus: workload.usedCpus[task] as number,
      };
      host.begin(begun, workMs[task] as number, agenda.nowMs);
      running++;
      lastBeganMs = agenda.nowMs;
      tally.began(task, host, agenda.nowMs);
      planEnd(host);
      agenda.at(agenda.nowMs + MEMORY_RAMP_MS, () => killWhatIsTooMuch(host));
    },
  };
  const decider = deciderOf(world);
  for (const host of hosts) agenda.at(0, () => changeOwner(host));
  if (total > 0) agenda.at(arrivalMs[0] as number, () => arrive(0));

  const lastArrivalMs = arrivalMs[total - 1] ?? 0;
  while (tally.over < total && agenda.step()) {
    if (decider.waiting() > MOST_WAITING)
      return refuse(
        "too_many",
        `more than ${MOST_WAITING} tasks wait at once: the machines cannot keep up; give it more of them, or fewer tasks`,
      );
    if (isDue && !agenda.hasMoreNow) {
      isDue = false;
      await decider.pass();
    }
    if (!isSweepPlanned && decider.waiting() > 0) {
      isSweepPlanned = true;
      agenda.at(agenda.nowMs + SWEEP_MS, sweep);
    }
    if (running === 0 && agenda.nowMs > Math.max(lastBeganMs, lastArrivalMs) + HOPELESS_MS) break;
  }
  tally.close(agenda.nowMs);
  return answer(tally);
}

/** Every machine has what any of the tasks wants. */
const runnersOf = ({ kinds }: Workload): string[] => [
  ...new Set(kinds.flatMap(({ runner }) => (runner === null ? [] : [runner]))),
];
