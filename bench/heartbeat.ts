// Measures what being a host costs its machine: a heartbeat every two seconds, with the readings that it tells of, over a
// real server; and beside it a whole host agent on which nothing runs, its supervisor apart. Exit 1 if the heartbeat
// misses its aim.
import { setTimeout as delay } from "node:timers/promises";
import { pino } from "pino";
import { startCondition } from "../services/host-agent/condition/condition.ts";
import { startHeartbeats } from "../services/host-agent/heartbeats.ts";
import { keptWorkspaces } from "../services/host-agent/workspace/kept-workspaces.ts";
import { localWorkspaces } from "../services/host-agent/workspace/workspaces.ts";
import { provision } from "../shared/bus/provision.ts";
import { readEnvironment } from "../shared/config/environment.ts";
import { LEASE } from "../shared/contracts/lease.ts";
import { cpuMs, startBenchMesh } from "./bench-mesh.ts";

/** What is done once, at the start, is over by then. */
const SETTLE_MS = 20_000;
const MEASURE_MS = 30_000;
const AIM = 0.01;
const ATTEMPTS = 5;

await using mesh = await startBenchMesh("2m");
const { bus, folder } = mesh;
await provision(bus);
const ownShare = await costOfHeartbeats();
const agent = mesh.run("services/host-agent/main.ts", {
  MESH_HOST_ID: "whole",
  MESH_DATA_DIR: `${folder}/host`,
});
await delay(SETTLE_MS);
const agentShare = await share(() => cpuMs(agent));
console.log(`heartbeats and readings: ${percent(ownShare)} of a core (aim: at most ${percent(AIM)})`);
console.log(`a whole host agent, idle: ${percent(agentShare)} of a core`);
if (ownShare > AIM) process.exitCode = 1;

/** In this process, where nothing else is done meanwhile. */
async function costOfHeartbeats(): Promise<number> {
  const workspaces = await localWorkspaces({
    cacheDir: `${folder}/cache`,
    attemptsFolder: `${folder}/attempts`,
    dependenciesFolder: `${folder}/dependencies`,
    kept: keptWorkspaces(`${folder}/kept`),
    allowFileClones: false,
  });
  using condition = await startCondition({
    unable: () => null,
    environment: readEnvironment({}),
    hostId: "bench",
    dataDir: folder,
    isVmUp: null,
    readPlace: () => workspaces.readings(),
    atWork: () => ATTEMPTS,
    handBack: () => {},
    onChange: () => {},
    log: pino({ level: "silent" }),
  });
  const use = { memoryBytes: 1.5e9, cpus: 0.7 };
  const attempts = Array.from({ length: ATTEMPTS }, (_, index) => ({
    taskId: `task-${index}`,
    attempt: 1,
    nonce: crypto.randomUUID(),
    use,
  }));
  using heartbeats = startHeartbeats({
    bus,
    hostId: "bench",
    everyMs: LEASE.heartbeatMs,
    leaseMs: LEASE.leaseMs,
    takeStamp: () => null,
    compose: () => ({
      ...condition.said(),
      hostId: "bench",
      installation: "bench",
      boot: 1,
      heartbeatMs: LEASE.heartbeatMs,
      slots: { total: ATTEMPTS, free: 0 },
      reserved: { memoryBytes: 0, cpus: 0 },
      attempts,
      labels: { os: "linux" },
      runners: ["command"],
      secrets: [],
      isolation: "sandbox",
      untrusted: false,
      draining: false,
      stopping: false,
      versions: process.versions as Record<string, string>,
    }),
  });
  await delay(SETTLE_MS);
  const of = await share(async () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1_000;
  });
  console.log(`${heartbeats.counter()} heartbeats`);
  return of;
}

/** Of a core, in which the CPU time grows, ms. */
async function share(cpuTimeMs: () => Promise<number>): Promise<number> {
  const [before, beforeMs] = [await cpuTimeMs(), performance.now()];
  await delay(MEASURE_MS);
  return ((await cpuTimeMs()) - before) / (performance.now() - beforeMs);
}

function percent(of: number): string {
  return `${(100 * of).toFixed(2)} %`;
}
