// The four services as processes of their own on an external nats-server, under real tasks whose commands write down
// that they act. Each of the processes is killed, or stopped, in the middle of ten tasks.
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { askApi } from "../../shared/bus/ask.ts";
import type { Bus } from "../../shared/bus/connect.ts";
import { followTasks } from "../../shared/bus/follow.ts";
import { factsOfTask, lastMessage } from "../../shared/bus/read.ts";
import { bucketStream, bucketSubject, LEASES } from "../../shared/bus/streams.ts";
import { submitTask } from "../../shared/bus/submit.ts";
import { openBus } from "../support/bus.ts";
import { smallRequest } from "../support/facts.ts";
import { untilGone } from "../support/mesh-program.ts";
import { type MortalNats, startMortalNats } from "../support/nats.ts";
import { makeRepository, type Repository } from "../support/repository.ts";
import { type ServiceProcess, startServiceProcesses } from "../support/service-processes.ts";

const DEADLINE = { timeout: 90_000, interval: 50 };
const LEASE_MS = 4_000;
const HOSTS = ["host-1", "host-2", "host-3"];
const TASKS_IN_A_RUN = 10;
/** `date` and the broker round to milliseconds, each its own way. */
const ROUNDING_MS = 5;

let stack: AsyncDisposableStack;
let folder: string;
let witness: string;
let nats: MortalNats;
let bus: Bus;
let repository: Repository;
let tasks: Awaited<ReturnType<typeof followTasks>>;
let crashes: string[];
let left: string[];
const services: Record<string, ServiceProcess> = {};

const settings = () => ({
  NATS_URL: nats.url,
  MESH_LEASE_MS: String(LEASE_MS),
  MESH_LOG_LEVEL: "info",
  MESH_HTTP_PORT: "0",
});

beforeAll(async () => {
  stack = new AsyncDisposableStack();
  folder = await mkdtemp(path.join(tmpdir(), "mesh-failover-"));
  stack.defer(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }));
  stack.defer(async () => {
    left = await untilGone(folder);
  });
  witness = path.join(folder, "witness");
  repository = stack.use(makeRepository());
  nats = stack.use(await startMortalNats());
  bus = stack.use(await openBus(nats.url));
  tasks = stack.use(await followTasks(bus, () => {}));
  const processes = stack.use(await startServiceProcesses(folder, settings()));
  ({ crashes } = processes);
  for (const service of ["scheduler", "status-tracker", "gateway"] as const)
    services[service] = processes.start(service);
  for (const hostId of HOSTS)
    services[hostId] = processes.start("host-agent", {
      MESH_HOST_ID: hostId,
      MESH_HOST_SLOTS: "2",
      MESH_DATA_DIR: path.join(folder, hostId),
      MESH_ALLOW_FILE_CLONES: "1",
    });
  await untilOnline();
});
afterAll(async () => {
  await stack.disposeAsync();
  if (left.length > 0) throw new Error(`still there: ${left.join("\n")}`);
});

async function untilOnline(): Promise<void> {
  const all = async () => {
    const hosts = await askApi(bus, "hosts", {}, 1_000);
    return hosts.ok && hosts.value.data.filter(({ online }) => online).length === HOSTS.length;
  };
  await vi.waitUntil(all, DEADLINE);
}

interface Act {
  taskId: string;
  attempt: number;
  hostId: string;
  /** `act`, again and again, and one `end`. */
  what: string;
  atMs: number;
}

async function acts(): Promise<Act[]> {
  const text = await readFile(witness, "utf8").catch(() => "");
  return text.split("\n").flatMap((line) => {
    const [taskId, attempt, hostId, what, atMs] = line.split(" ");
    if (!taskId || !hostId || !what) return [];
    return [{ taskId, attempt: Number(attempt), hostId, what, atMs: Number(atMs) }];
  });
}

/** Submits the tasks; each acts for as long. */
async function submit(name: string, count: number, seconds: number): Promise<string[]> {
  const taskIds = Array.from({ length: count }, (_, number) => `${name}-${number}`);
  const command = [
    'say() { echo "$MESH_TASK_ID $MESH_ATTEMPT $MESH_HOST_ID $1 $(date +%s%3N)" >> "$WITNESS"; }',
    `n=0; while [ $n -lt ${seconds * 10} ]; do say act; sleep 0.1; n=$((n+1)); done`,
    "say end",
  ].join("\n");
  for (const taskId of taskIds) {
    const run = { command, env: { WITNESS: witness } };
    const submitted = await submitTask(bus, smallRequest(repository, { taskId, run }));
    expect(submitted).toMatchObject({ ok: true, value: { created: true } });
  }
  return taskIds;
}

const untilEnded = (taskIds: string[]) =>
  vi.waitUntil(() => taskIds.every((taskId) => tasks.log.hasEnded(taskId)), DEADLINE);

/** Some have ended, some act, and some wait: the middle of a run. */
const untilInTheMiddle = (taskIds: string[]) =>
  vi.waitUntil(() => taskIds.filter((taskId) => tasks.log.hasEnded(taskId)).length >= 2, DEADLINE);

/** What contradicts that each task came to its end once, and that no attempt acts beside the next one. */
async function contradictions(taskIds: string[]): Promise<string[]> {
  const found: string[] = [];
  const seen = await acts();
  for (const taskId of taskIds) {
    const mine = seen.filter(isOf([taskId]));
    const facts = await factsOfTask(bus, taskId);
    const ends = mine.filter(({ what }) => what === "end").length;
    if (ends !== 1) found.push(`${taskId} came to its end ${ends} times`);
    const succeeded = facts.filter(({ kind }) => kind === "succeeded").length;
    if (succeeded !== 1 || facts.at(-1)?.kind !== "succeeded")
      found.push(`${taskId} has not succeeded once: ${facts.map(({ kind }) => kind).join()}`);
    for (const fact of facts) {
      if (fact.kind !== "started" || fact.body === null) continue;
      const { attempt } = fact.body;
      const { timeMs } = fact;
      for (const act of mine)
        if (act.attempt < attempt ? act.atMs > timeMs + ROUNDING_MS : act.atMs < timeMs - ROUNDING_MS)
          found.push(`${taskId}: attempt ${act.attempt} acts ${act.atMs - timeMs} ms after ${attempt} began`);
    }
  }
  return found;
}

const attemptsOf = async (taskIds: string[]): Promise<number[]> => [
  ...new Set((await acts()).filter(isOf(taskIds)).map(({ attempt }) => attempt)),
];

describe("in the middle of ten tasks", () => {
  it.each(["scheduler", "status-tracker"])(
    "the %s is killed: all ten end, each in its first attempt",
    async (victim) => {
      const taskIds = await submit(victim, TASKS_IN_A_RUN, 1);
      await untilInTheMiddle(taskIds);
      await services[victim]?.kill();
      await untilEnded(taskIds);
      expect(await contradictions(taskIds)).toEqual([]);
      expect(await attemptsOf(taskIds)).toEqual([1]);
    },
  );

  it("nats-server is killed and started again with its data: all ten end, none twice", async () => {
    const taskIds = await submit("bus", TASKS_IN_A_RUN, 1);
    await untilInTheMiddle(taskIds);
    await nats.kill();
    await nats.start();
    await untilEnded(taskIds);
    expect(await contradictions(taskIds)).toEqual([]);
  });

  it("a host is killed: all ten end, none twice, and what ran there ran elsewhere or anew", async () => {
    const taskIds = await submit("host", TASKS_IN_A_RUN, 2);
    await untilInTheMiddle(taskIds);
    // One of which nothing is just about to end: what had ended and could not say so would be done again.
    const victim = await vi.waitUntil(async () => {
      const acting = (await acts()).filter(isOf(taskIds)).filter((act) => !tasks.log.hasEnded(act.taskId));
      return HOSTS.find((hostId) => {
        const there = Map.groupBy(
          acting.filter((act) => act.hostId === hostId),
          (act) => act.taskId,
        );
        return there.size > 0 && [...there.values()].every(({ length }) => length < 12);
      });
    }, DEADLINE);
    await services[victim]?.kill();
    await untilEnded(taskIds);
    expect(await contradictions(taskIds)).toEqual([]);
    expect(await attemptsOf(taskIds)).toEqual([1, 2]);
  });

  it("everything but the hosts is killed at once: all ten end, none twice", async () => {
    const taskIds = await submit("all", TASKS_IN_A_RUN, 1);
    await untilInTheMiddle(taskIds);
    const victims = ["scheduler", "status-tracker", "gateway"];
    await Promise.all([nats.kill(), ...victims.map((victim) => services[victim]?.kill())]);
    await nats.start();
    await untilEnded(taskIds);
    expect(await contradictions(taskIds)).toEqual([]);
  });
});

describe("a scheduler and a status tracker that lead and stand still", () => {
  it("have others take over, under whom new tasks begin and end", async () => {
    const roles = ["scheduler", "status-tracker"] as const;
    await using standbys = await startServiceProcesses(folder, settings());
    const standby = roles.map((role) => standbys.start(role));
    const leaderOf = async (role: string) => {
      const said = await lastMessage(bus, bucketStream(LEASES), bucketSubject(LEASES, role));
      return said === null ? 0 : Number(Buffer.from(said.payload).toString());
    };
    const all = [...standby, ...roles.flatMap((role) => services[role] ?? [])];
    const before = await vi.waitUntil(async () => {
      const leaders = await Promise.all(roles.map(leaderOf));
      const found = leaders.map((pid) => all.find((one) => one.pid() === pid));
      return found.every((one) => one !== undefined) ? found : null;
    }, DEADLINE);
    for (const leader of before) leader?.signal("SIGSTOP");
    try {
      const taskIds = await submit("standby", 2, 1);
      await untilEnded(taskIds);
      expect(await contradictions(taskIds)).toEqual([]);
    } finally {
      for (const leader of before) leader?.signal("SIGCONT");
    }
  });
});

describe("a host that is stopped for longer than its lease", () => {
  it("has its task move on, and nothing of the older attempt acts after the newer began", async () => {
    await untilOnline();
    // Longer than its supervisor lets it go on alone.
    const [taskId = ""] = await submit("stopped", 1, (LEASE_MS / 1_000) * 2);
    await vi.waitUntil(async () => (await acts()).some(isOf([taskId])), DEADLINE);
    const first = (await acts()).find(isOf([taskId]));
    const host = services[first?.hostId ?? ""];
    host?.signal("SIGSTOP");
    await vi.waitUntil(
      async () => (await acts()).some((act) => act.taskId === taskId && act.attempt === 2),
      DEADLINE,
    );
    host?.signal("SIGCONT");
    await untilEnded([taskId]);
    // The older host is back, and has dropped what it held: everything that it could do has been done.
    await untilOnline();
    const heldNowhere = async () => {
      const hosts = await askApi(bus, "hosts", {}, 1_000);
      return hosts.ok && hosts.value.data.every(({ attempts }) => attempts.length === 0);
    };
    await vi.waitUntil(heldNowhere, DEADLINE);
    expect(await contradictions([taskId])).toEqual([]);
    expect(await attemptsOf([taskId])).toEqual([1, 2]);
  });
});

describe("all along", () => {
  it("no service ended but those that were killed", () => {
    expect(crashes).toEqual([]);
  });
});

describe("a bus that comes back without its data", () => {
  it("ends the services that follow the log, and new tasks run once they have begun anew", async () => {
    await tasks[Symbol.asyncDispose]();
    await nats.kill();
    await nats.start({ empty: true });
    await vi.waitUntil(() => crashes.length >= 2, DEADLINE);
    await untilOnline();
    tasks = stack.use(await followTasks(bus, () => {}));
    const taskIds = await submit("anew", 2, 1);
    await untilEnded(taskIds);
    expect(await contradictions(taskIds)).toEqual([]);
    expect(crashes.toSorted()).toEqual([
      "scheduler: exit code 1, signal null",
      "status-tracker: exit code 1, signal null",
    ]);
  });
});

function isOf(taskIds: string[]): (act: Act) => boolean {
  return ({ taskId }) => taskIds.includes(taskId);
}
