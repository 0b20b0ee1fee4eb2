// Measures placement by simulation, all policies side by side, and what a decision and a heartbeat cost, each against
// its aim. The rows are ratios to an omniscient decider, to a bare scan of the same hosts, or to a core, all in one run.
// Exit 1 if policy `resource` misses an aim. `--tasks` and `--runs` make it shorter.
import { Command } from "commander";
import { Fleet } from "../services/scheduler/fleet.ts";
import type { FleetHost } from "../services/scheduler/fleet-host.ts";
import { place } from "../services/scheduler/placement.ts";
import { type DeciderName, runJobs } from "../services/simulator/compare.ts";
import { drawMachines } from "../services/simulator/machines.ts";
import { type Row, rowOf } from "../services/simulator/verdict.ts";
import { drawWorkload } from "../services/simulator/workload.ts";
import { DEFAULT_SETTINGS, PlacementPolicy } from "../shared/config/settings.ts";
import { decodeHeartbeat, heartbeatSubject } from "../shared/contracts/heartbeat.ts";
import { heartbeat } from "../test/support/heartbeats.ts";
import { queued, reservation, situation } from "../test/support/placement.ts";

const HOSTS = 50;
const LOAD = 0.8;
const SCENARIOS = [
  { name: "heartbeats of 1 s", heartbeatMs: 1_000, burst: 1 },
  { name: "heartbeats of 15 s", heartbeatMs: 15_000, burst: 1 },
  { name: "bursts of 60", heartbeatMs: 1_000, burst: 60 },
] as const;
const DECIDERS: DeciderName[] = ["omniscient", ...PlacementPolicy.options];
const MANY = 1_000;
const GB = 1e9;

const options = new Command()
  .option("--tasks <n>", "tasks of each run", "10000")
  .option("--runs <n>", "seeds", "5")
  .parse()
  .opts<{ tasks: string; runs: string }>();

const tables: Row[][] = [];
for (const scenario of SCENARIOS) tables.push(await simulate(scenario));
judge(tables, decisionCost(), heartbeatCost());

async function simulate({ name, heartbeatMs, burst }: (typeof SCENARIOS)[number]): Promise<Row[]> {
  const seeds = Array.from({ length: Number(options.runs) }, (_, index) => index + 1);
  const jobs = DECIDERS.flatMap((decider) =>
    seeds.map((seed) => {
      const machines = drawMachines(seed, HOSTS);
      const tasks = Number(options.tasks);
      const workload = drawWorkload({ seed, tasks, load: LOAD, burst, unnamed: null }, machines);
      const { "placement.weights": weights, "placement.learn": learn } = DEFAULT_SETTINGS;
      return { decider, learn, machines, workload, seed, heartbeatMs, weights };
    }),
  );
  const ran = await runJobs(jobs, { onDone: () => {}, signal: new AbortController().signal });
  if (!ran.ok) throw new Error(ran.error.message);
  const outcomesOf = (index: number) => ran.value.slice(index * seeds.length, (index + 1) * seeds.length);
  const rows = DECIDERS.map((decider, index) => rowOf(decider, outcomesOf(index), outcomesOf(0)));
  say(`\n${HOSTS} hosts, load ${LOAD}, ${name}, ${seeds.length} seeds of ${options.tasks} tasks`);
  say("policy             × omniscient  OOM/1000  refused  imbalance  Jain    delay p99");
  for (const row of rows)
    say(
      [
        row.decider.padEnd(18),
        row.timesOmniscient.toFixed(4).padStart(12),
        row.killedPerThousand.toFixed(2).padStart(9),
        `${(100 * row.refused).toFixed(2)} %`.padStart(8),
        row.imbalance.toFixed(3).padStart(10),
        row.jain.toFixed(4).padStart(7),
        `${(row.delayMs.p99 / 1_000).toFixed(1)} s`.padStart(10),
      ].join(" "),
    );
  return rows;
}

/** A decision over many hosts, as a multiple of the same comparisons and terms written out in one loop. */
function decisionCost(): number {
  const fleet = manyHosts();
  const hosts = [...fleet.hosts.values()];
  const task = queued({ memoryBytes: 2 * GB });
  const now = situation();
  const decide = () => place(task, fleet, now).host;
  const scan = () => bareScan(hosts, task.memoryBytes, now);
  let [decideUs, scanUs] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
  for (let round = 0; round < 400; round++) {
    decideUs = Math.min(decideUs, microseconds(decide));
    scanUs = Math.min(scanUs, microseconds(scan));
  }
  say(`\none decision over ${MANY} hosts: ${decideUs.toFixed(1)} µs; a bare scan: ${scanUs.toFixed(1)} µs`);
  return decideUs / scanUs;
}

function bareScan(
  hosts: readonly FleetHost[],
  memoryBytes: number,
  { nowMs, silenceMs, weights }: ReturnType<typeof situation>,
): FleetHost | null {
  let best: FleetHost | null = null;
  let most = Number.NEGATIVE_INFINITY;
  for (let index = 0; index < hosts.length; index++) {
    const host = hosts[index] as FleetHost;
    if (nowMs - host.heardAtMs > silenceMs || host.closed !== null || host.running >= host.slots) continue;
    const left = host.freeBytes - memoryBytes;
    if (left < 0) continue;
    const memory =
      0.9 * Math.min(1, left / (host.unknownBytes + 0.5 * memoryBytes)) + (0.1 * left) / host.totalBytes;
    const its =
      weights.memory * memory +
      (weights.cpu * Math.max(0, host.freeCpus - 1)) / host.cores +
      weights.slots * (1 - (host.running + 1) / host.slots) +
      weights.speed * host.speed +
      weights.warm * host.warm +
      weights.spread * (1 - host.same / host.slots);
    if (its <= most) continue;
    most = its;
    best = host;
  }
  return best;
}

/** Share of a core that decoding and hearing a thousand heartbeats a second takes. */
function heartbeatCost(): number {
  const fleet = manyHosts();
  const payloads = [...fleet.hosts.values()].map((host): [string, Uint8Array] => [
    heartbeatSubject.build({ hostId: host.id }),
    new TextEncoder().encode(JSON.stringify(host.heartbeat)),
  ]);
  const shares: number[] = [];
  for (let second = 0; second < 40; second++) {
    const before = process.cpuUsage();
    for (const [subject, payload] of payloads) {
      const heard = decodeHeartbeat(subject, payload)?.heartbeat;
      if (heard) fleet.hear(heard, second * 1_000);
    }
    const { user, system } = process.cpuUsage(before);
    if (second >= 10) shares.push((user + system) / 1e6);
  }
  return median(shares);
}

/** Of different sizes, each with some attempts. */
function manyHosts(): Fleet {
  const fleet = new Fleet();
  drawMachines(1, MANY).forEach(({ memoryBytes, cores, slots }, index) => {
    const hostId = `h${index}`;
    const attempts = Array.from({ length: 3 }, (_, number) => ({
      taskId: `t${index}-${number}`,
      attempt: 1,
      nonce: "n1",
    }));
    const memory = {
      totalBytes: memoryBytes,
      availableBytes: memoryBytes * (0.2 + 0.6 * ((index * 7) % 10) * 0.1),
    };
    fleet.hear(
      heartbeat({
        hostId,
        memory,
        cpu: { cores, busy: 0.3, mhz: 0 },
        slots: { total: slots, free: slots },
        attempts,
      }),
      0,
    );
    for (const { taskId } of attempts)
      fleet.reserve(
        hostId,
        taskId,
        reservation({ repository: `acme/r${index % 10}`, memoryBytes: GB / 2, sinceMs: -60_000 }),
      );
  });
  return fleet;
}

/** Of one, from so few at once that most rounds are not disturbed by other programs. */
function microseconds(work: () => unknown): number {
  const times = 50;
  const beganMs = performance.now();
  for (let time = 0; time < times; time++) work();
  return ((performance.now() - beganMs) * 1_000) / times;
}

function judge(rows: Row[][], decision: number, heartbeats: number): void {
  const [fresh, stale, bursts] = rows.map((table) => table.find(({ decider }) => decider === "resource"));
  if (!fresh || !stale || !bursts) throw new Error("policy resource was not run");
  const aims: [string, number, number, "at most" | "at least"][] = [
    ["slowdown, × omniscient", fresh.timesOmniscient, 1.12, "at most"],
    ["OOM per 1,000", fresh.killedPerThousand, 0.1, "at most"],
    ["refused, %", 100 * fresh.refused, 1, "at most"],
    ["Jain's index", fresh.jain, 0.98, "at least"],
    ["heartbeats of 15 s: slowdown, × that of 1 s", stale.slowdown / fresh.slowdown, 1.03, "at most"],
    ["bursts of 60: slowdown, × omniscient", bursts.timesOmniscient, 1.15, "at most"],
    [`one decision over ${MANY} hosts, × a bare scan`, decision, 2, "at most"],
    ["1,000 heartbeats a second, % of a core", 100 * heartbeats, 25, "at most"],
  ];
  say("\npolicy resource");
  for (const [what, value, aim, bound] of aims) {
    const met = bound === "at most" ? value <= aim : value >= aim;
    if (!met) process.exitCode = 1;
    say(`${met ? "met   " : "MISSED"}  ${what}: ${value.toFixed(4)} (aim: ${bound} ${aim})`);
  }
}

function median(values: number[]): number {
  return values.toSorted((one, other) => one - other)[Math.floor(values.length / 2)] ?? 0;
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
