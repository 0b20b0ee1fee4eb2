// One run: a fleet under load and faults, then healed until every task has ended, and its history. It decides nothing
// about what is right: that is the checker's.
import { readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { markedWith } from "../../services/host-agent/guest/processes.ts";
import { chance } from "../../services/simulator/chance.ts";
import { askApi } from "../../shared/bus/ask.ts";
import { type Bus, connectBus } from "../../shared/bus/connect.ts";
import { followTasks } from "../../shared/bus/follow.ts";
import { provision } from "../../shared/bus/provision.ts";
import { storedMessages } from "../../shared/bus/read.ts";
import { TASKS } from "../../shared/bus/streams.ts";
import { resumedEvents } from "../../shared/client/server-sent-events.ts";
import { leaseTimes } from "../../shared/config/environment.ts";
import { deadSubject } from "../../shared/contracts/dead.ts";
import { decodeFact, type Fact, factSubject, type Malformed } from "../../shared/contracts/fact.ts";
import { silenceMs } from "../../shared/contracts/lease.ts";
import { injectFaults } from "./faults.ts";
import { startFleet } from "./fleet.ts";
import type { History } from "./history.ts";
import { markOf, readActs, submitTasks } from "./workload.ts";

export interface RunOptions {
  seed: number;
  /** Of faults; healing comes on top. */
  durationMs: number;
  hosts: number;
  slots: number;
  leaseMs: number;
  outstanding: number;
  folder: string;
  program: string;
  repository: { url: string; branch: string; sha: string };
  say: (line: string) => void;
}

export interface Run {
  history: History;
  faults: string[];
  crashes: string[];
}

/** After the last fault everything has so long to end. */
const HEAL_MS = 90_000;
/** A tree that was cut off ends so long after its host is back. */
const GONE_MS = 15_000;

export async function runChaos(options: RunOptions): Promise<Run> {
  const { seed, durationMs, hosts, slots, leaseMs, outstanding, folder, say } = options;
  const times = leaseTimes(leaseMs);
  const witnessFile = path.join(folder, "witness");
  await writeFile(witnessFile, "");
  await using fleet = await startFleet({ folder, program: options.program, hosts, slots, leaseMs });
  await using bus = await connectBus({ url: fleet.bus.url, name: "chaos", wait: true });
  await provision(bus);
  const over = AbortSignal.timeout(durationMs);
  await using following = await followTasks(bus, () => {});
  const { log } = following;
  const told = listen(fleet.httpPort);
  await untilHostsAnswer(bus, hosts);
  say(`${hosts} hosts, lease ${leaseMs} ms, seed ${seed}`);

  const [acknowledged, faults] = await Promise.all([
    submitTasks({
      bus,
      chance: chance(seed, "workload"),
      repository: options.repository,
      witnessFile,
      outstanding,
      ended: (taskId) => log.hasEnded(taskId),
      signal: over,
    }),
    injectFaults(fleet, { chance: chance(seed, "faults"), leaseMs, signal: over, say }),
  ]);
  say(`${acknowledged.length} tasks, ${faults.lines.length} faults; healing`);
  const deadline = performance.now() + HEAL_MS;
  while (acknowledged.some(({ taskId }) => !log.hasEnded(taskId)) && performance.now() < deadline)
    await delay(100);

  const facts = await factsOnTheLog(bus);
  await untilTold(told.sequences, facts.length, deadline);
  told.stop();
  const shown: History["shown"] = [];
  for (const { taskId } of acknowledged) {
    const view = await askApi(bus, "get", { taskId });
    if (view.ok) shown.push(view.value);
  }
  return {
    history: {
      facts,
      acts: readActs(await readFile(witnessFile, "utf8")),
      acknowledged,
      told: told.sequences,
      dead: await setAside(bus),
      shown,
      leftovers: await leftovers(markOf(witnessFile)),
      wakes: faults.wakes,
      busBackAtMs: fleet.busBackAtMs,
      slots,
      silenceMs: silenceMs(times),
      wakeAllowanceMs: times.marginMs,
    },
    faults: faults.lines,
    crashes: fleet.crashes,
  };
}

/** A client of the event stream that resumes wherever it was cut off. */
function listen(httpPort: number): { sequences: number[]; stop: () => void } {
  const leave = new AbortController();
  const sequences: number[] = [];
  const open = async (after: number, signal: AbortSignal) => {
    const url = `http://127.0.0.1:${httpPort}/v1/events?lastEventId=${after}`;
    const response = await fetch(url, { signal }).catch(() => null);
    return response?.ok && response.body !== null ? response.body : "later";
  };
  void (async () => {
    for await (const { id } of resumedEvents({ open, after: 0, signal: leave.signal }))
      sequences.push(Number(id));
  })().catch(() => {});
  return { sequences, stop: () => leave.abort() };
}

async function untilTold(sequences: number[], count: number, deadline: number): Promise<void> {
  while (sequences.length < count && performance.now() < deadline) await delay(100);
}

async function untilHostsAnswer(bus: Bus, hosts: number): Promise<void> {
  const deadline = performance.now() + HEAL_MS;
  while (performance.now() < deadline) {
    const answer = await askApi(bus, "hosts", {}, 1_000);
    if (answer.ok && answer.value.data.filter(({ online }) => online).length === hosts) return;
    await delay(200);
  }
  throw new Error("the fleet did not come up");
}

/** Processes of the workload, a while after every task has ended. */
async function leftovers(mark: string): Promise<string[]> {
  const deadline = performance.now() + GONE_MS;
  while (markedWith(mark).length > 0 && performance.now() < deadline) await delay(200);
  return markedWith(mark).map((pid) => `process ${pid}`);
}

async function factsOnTheLog(bus: Bus): Promise<(Fact | Malformed)[]> {
  const facts: (Fact | Malformed)[] = [];
  for await (const { subject, payload, sequence, timeMs } of storedMessages(
    bus,
    TASKS,
    factSubject.wildcard(),
  )) {
    const fact = decodeFact(subject, payload, sequence, timeMs);
    if (fact !== null) facts.push(fact);
  }
  return facts;
}

async function setAside(bus: Bus): Promise<number[]> {
  const sequences: number[] = [];
  for await (const { subject } of storedMessages(bus, "DEAD", deadSubject.wildcard()))
    sequences.push(Number(deadSubject.parse(subject)?.sequence));
  return sequences;
}
