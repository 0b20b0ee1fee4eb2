// Measures the scheduler at its largest: a thousand hosts with a heartbeat a second and 100,000 queued tasks, over a real
// server, with a real tracker. The hosts are simulated (`simulated-hosts.ts`), all else is the mesh. Prints each
// figure against its aim; exit 1 if one is missed. `--queued` makes it smaller.
import type { ChildProcess } from "node:child_process";
import { readFile } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { Command } from "commander";
import { ask } from "../shared/bus/ask.ts";
import { provision } from "../shared/bus/provision.ts";
import { type DeployRequest, PRIORITIES } from "../shared/contracts/deploy-request.ts";
import { factSubject } from "../shared/contracts/fact.ts";
import { Outlook, outlookSubject } from "../shared/contracts/outlook.ts";
import { cpuMs, end, startBenchMesh } from "./bench-mesh.ts";

const HOSTS = 1_000;
const FEW = 1_000;
const REPOSITORIES = 200;
const MEBIBYTE = 1_048_576;
const SETTLE_MS = 15_000;
const MEASURE_MS = 15_000;
const PUBLISHED_AHEAD = 1_000;

const options = new Command()
  .option("--queued <n>", "tasks that are queued", "100000")
  .option(
    "--node-options <text>",
    "of the scheduler; the default is docker-compose.yml's",
    "--max-semi-space-size=8",
  )
  .parse()
  .opts<{ queued: string; nodeOptions: string }>();
const QUEUED = Number(options.queued);

await using mesh = await startBenchMesh("2m");
const { bus } = mesh;
let began = 0;
let published = 0;
bus.connection.subscribe("bench.hosts.began", { callback: () => void began++ });
await provision(bus);
mesh.run("services/status-tracker/main.ts");
await runHosts();

let scheduler = startScheduler();
await untilLeading();
await delay(SETTLE_MS);
const cpuIdle = await cpuShare(scheduler);
say(`no task queued: ${percent(cpuIdle)} of a core`);

// What is made and kept once, however many are queued, is there by then.
await submit(FEW);
await untilQueued();
await delay(SETTLE_MS);
const rssFew = await rss(scheduler);
say(`${FEW} queued: RSS ${mebibytes(rssFew)}`);

const submitting = await timed(() => submit(QUEUED - FEW));
await untilQueued();
await delay(SETTLE_MS);
const cpuFull = await cpuShare(scheduler);
const rssFull = await rss(scheduler);
say(`${QUEUED} queued in ${seconds(submitting)}: ${percent(cpuFull)} of a core, RSS ${mebibytes(rssFull)}`);

const rates = await place(scheduler);
await submit(QUEUED);
await untilQueued();
await end(scheduler);
began = 0;
await openHosts(1);
const coldMs = await timed(async () => {
  scheduler = startScheduler();
  await until(() => began > 0, 120_000, "the scheduler places after a cold start");
});
say(`cold start over a log of ${QUEUED} queued and ${3 * QUEUED} facts of ended tasks: ${seconds(coldMs)}`);

judge([
  ["1,000 heartbeats a second, % of a core", 100 * cpuIdle, "at most", 25],
  [`the same with ${QUEUED} queued, % of a core`, 100 * cpuFull, "at most", 25],
  [`RSS for ${QUEUED} queued, MiB more than for ${FEW}`, (rssFull - rssFew) / MEBIBYTE, "at most", 35],
  ["cold start until it places, s", coldMs / 1_000, "at most", 15],
  ["placed a second with nearly all queued, of the rate with few", rates.first / rates.last, "at least", 0.8],
]);

function startScheduler(): ChildProcess {
  return mesh.run("services/scheduler/main.ts", { NODE_OPTIONS: options.nodeOptions });
}

async function runHosts(): Promise<void> {
  const ready = bus.connection.subscribe("bench.hosts.ready", { max: 1 });
  mesh.run("bench/simulated-hosts.ts");
  await ready[Symbol.asyncIterator]().next();
}

/** So many hosts have room from now on. */
async function openHosts(count: number): Promise<void> {
  await bus.connection.request("bench.hosts.open", String(count), { timeout: 10_000 });
}

/** All hosts begin what they are told. */
async function place(child: ChildProcess): Promise<{ first: number; last: number }> {
  const part = Math.floor(QUEUED / 5);
  began = 0;
  await openHosts(HOSTS);
  const beganMs = performance.now();
  const rateUntil = async (count: number, sinceMs: number, since: number) => {
    await until(() => began >= count, 600_000, `${count} attempts begin`);
    return ((count - since) * 1_000) / (performance.now() - sinceMs);
  };
  const first = await rateUntil(part, beganMs, 0);
  await until(() => began >= 4 * part, 600_000, "most attempts begin");
  const last = await rateUntil(5 * part, performance.now(), began);
  const all = (5 * part * 1_000) / (performance.now() - beganMs);
  say(
    `placed a second: ${all.toFixed(0)}; the first fifth ${first.toFixed(0)}, the last ${last.toFixed(0)}; then RSS ${mebibytes(await rss(child))}`,
  );
  await openHosts(0);
  return { first, last };
}

/** Straight onto the log, so that the clients' own work is no part of it. */
async function submit(count: number): Promise<void> {
  const flying = new Set<Promise<unknown>>();
  for (let number = 0; number < count; number++) {
    const priority = PRIORITIES[number % 3] ?? "normal";
    const subject = factSubject.build({ taskId: taskId(published++), kind: "requested", speaker: priority });
    const sent = bus.js.publish(subject, JSON.stringify({ ...request(number), priority, after: 0 }));
    flying.add(sent);
    void sent.finally(() => flying.delete(sent));
    if (flying.size >= PUBLISHED_AHEAD) await Promise.race(flying);
  }
  await Promise.all(flying);
}

function taskId(number: number): string {
  return `01985c2e-7d3a-7b1c-9f00-${String(number).padStart(12, "0")}`;
}

function request(number: number): DeployRequest {
  return {
    type: "pr_deployment",
    repository: `acme/service-${number % REPOSITORIES}`,
    branch: `feature/number-${number}`,
    sha: number.toString(16).padStart(40, "0"),
    cloneUrl: `https://git.invalid/acme/service-${number % REPOSITORIES}.git`,
    prNumber: number + 1,
    resources: { memoryBytes: (1 + (number % 4)) * 1_073_741_824, cpus: 1 },
    ...(number % 10 === 0 ? { labels: { os: "windows" } } : {}),
    run: { command: "npm ci && npm run build && npm test", env: { CI: "1", NUMBER: String(number) } },
    checks: ["npm run lint", "npm run typecheck"],
  };
}

/** Who leads answers for the queue. */
async function untilLeading(): Promise<void> {
  await until(async () => (await outlook("none")) === "not_found", 60_000, "the scheduler leads");
}

async function untilQueued(): Promise<void> {
  const last = taskId(published - 1);
  await until(async () => (await outlook(last)) === "queued", 120_000, "the scheduler knows all tasks");
}

async function outlook(id: string): Promise<string> {
  const found = await ask(bus, outlookSubject.build({}), { taskId: id }, Outlook, 5_000);
  return found.ok ? "queued" : found.error.code;
}

async function cpuShare(child: ChildProcess): Promise<number> {
  const [before, beforeMs] = [await cpuMs(child), performance.now()];
  await delay(MEASURE_MS);
  return ((await cpuMs(child)) - before) / (performance.now() - beforeMs);
}

/** The median of some seconds: what was collected meanwhile is given back late. */
async function rss({ pid }: ChildProcess): Promise<number> {
  const seen: number[] = [];
  for (let look = 0; look < 20; look++) {
    const status = await readFile(`/proc/${pid}/status`, "utf8");
    seen.push(Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1] ?? 0) * 1_024);
    await delay(250);
  }
  return seen.toSorted((one, other) => one - other)[10] ?? 0;
}

async function until(
  holds: () => boolean | Promise<boolean>,
  deadlineMs: number,
  what: string,
): Promise<void> {
  const deadline = performance.now() + deadlineMs;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`not in time: ${what}`);
    await delay(10);
  }
}

async function timed(work: () => Promise<void>): Promise<number> {
  const beganMs = performance.now();
  await work();
  return performance.now() - beganMs;
}

function judge(aims: [string, number, "at most" | "at least", number][]): void {
  for (const [what, value, bound, aim] of aims) {
    const met = bound === "at most" ? value <= aim : value >= aim;
    if (!met) process.exitCode = 1;
    say(`${met ? "met   " : "MISSED"}  ${what}: ${value.toFixed(2)} (aim: ${bound} ${aim})`);
  }
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}

function mebibytes(bytes: number): string {
  return `${(bytes / MEBIBYTE).toFixed(1)} MiB`;
}

function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`;
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
