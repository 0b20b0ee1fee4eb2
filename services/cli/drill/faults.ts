// The four drills: what each kills, what it waits for, and how long that may take. What is killed without a command of
// the user's is the drill's own, or the nats-server of a `mesh up`, which starts it again.
import path from "node:path";
import { silenceMs } from "../../../shared/contracts/lease.ts";
import { holderOf } from "../../../shared/process/folder-lock.ts";
import { Failure, UsageError } from "../outcome.ts";
import { type Evidence, judge, onBrokersClock } from "./judgement.ts";
import { Scene, type SceneOptions } from "./scene.ts";

type Fault = "kill-host" | "kill-scheduler" | "kill-tracker" | "kill-bus";

export interface DrillOptions extends SceneOptions {
  fault: Fault;
  /** Folder of the `mesh up` whose bus it is. */
  dataDir: string | null;
  /** The host that `command` kills. */
  hostId: string | undefined;
}

export interface DrillReport {
  drill: Fault;
  killed: string;
  /** From what to what. */
  measured: string;
  aimMs: number | null;
  recoveredMs: number | null;
  tasks: number;
  attempts: number;
  witnessLines: number;
  ranTwice: string[];
  begunAnew: string[];
  ok: boolean;
}

type Outcome = Pick<DrillReport, "killed" | "measured" | "aimMs" | "recoveredMs"> &
  Pick<Evidence, "mustGoOn">;

const FAILOVER_AIM_MS = 5_000;
const STEADY = 4;
/** With so many tasks of ours acting, one ought to have come to the host that is to be killed. */
const MOST_STEADY = 50;

export async function runDrill(options: DrillOptions): Promise<DrillReport> {
  await using scene = await Scene.open(options);
  const outcome = await drill(scene, options);
  options.onProgress("ending the drill's tasks, and reading what they wrote");
  const { facts, acts, tasks } = await scene.evidence();
  const { mustGoOn, ...told } = outcome;
  const { ok, twice, anew } = judge({ facts, acts, recoveredMs: outcome.recoveredMs, mustGoOn });
  return {
    drill: options.fault,
    ...told,
    tasks,
    attempts: facts.filter(({ kind }) => kind === "started").length,
    witnessLines: acts.length,
    ranTwice: twice,
    begunAnew: anew,
    ok,
  };
}

function drill(scene: Scene, options: DrillOptions): Promise<Outcome> {
  switch (options.fault) {
    case "kill-scheduler":
      return killScheduler(scene, options);
    case "kill-tracker":
      return killTracker(scene, options);
    case "kill-bus":
      return killBus(scene, options);
    case "kill-host":
      return options.command === undefined ? killOwnHost(scene) : killUsersHost(scene, options);
  }
}

async function killScheduler(scene: Scene, { command }: DrillOptions): Promise<Outcome> {
  await scene.startHost(1);
  await act(scene, STEADY);
  const own = command === undefined ? await scene.startLeader("scheduler") : null;
  const { atMs, killed } = await scene.kill(
    `the scheduler that led, process ${own?.pid} of the drill's own`,
    async () => own?.kill(),
  );
  const taskId = await scene.submit("short");
  const recoveredMs = await sinceUntil(scene, atMs, taskId, "started");
  const measured = "from the kill to the start of the next new task";
  return { killed, measured, aimMs: FAILOVER_AIM_MS, recoveredMs, mustGoOn: true };
}

async function killTracker(scene: Scene, { command }: DrillOptions): Promise<Outcome> {
  await scene.startHost(1);
  await act(scene, STEADY);
  const own = command === undefined ? await scene.startLeader("status-tracker") : null;
  const { atMs, killed } = await scene.kill(
    `the status tracker that led, process ${own?.pid} of the drill's own`,
    async () => own?.kill(),
  );
  const taskId = await scene.submit("fails");
  const recoveredMs = await sinceUntil(scene, atMs, taskId, "failed");
  const measured = "from the kill until a new task that failed was told its end";
  return { killed, measured, aimMs: FAILOVER_AIM_MS, recoveredMs, mustGoOn: true };
}

async function killBus(scene: Scene, { command, dataDir }: DrillOptions): Promise<Outcome> {
  const pid = dataDir === null ? null : await holderOf(path.join(dataDir, "nats"), "nats-server.lock");
  if (pid === null && command === undefined)
    throw new UsageError(
      "this bus is no `mesh up`'s of this machine, which would start it again: say by --command what kills it",
    );
  await scene.startHost(1);
  const steady = await act(scene, STEADY);
  const { atMs, killed } = await scene.kill(`nats-server, process ${pid}, of ${dataDir}`, async () => {
    if (pid !== null) process.kill(pid, "SIGKILL");
  });
  const taskId = await scene.submit("short");
  const started = await sinceUntil(scene, atMs, taskId, "started");
  const backMs = scene.factsAbout(taskId).find(({ fact }) => fact.kind === "started")?.fact.timeMs ?? 0;
  const goesOn = async (one: string) =>
    onBrokersClock(await scene.actsOf(one)).some((seen) => seen.atMs > backMs);
  const allGoOn =
    started !== null &&
    (await scene.within(scene.patienceMs, async () =>
      (await Promise.all(steady.map(goesOn))).every(Boolean),
    ));
  const recoveredMs = allGoOn ? performance.now() - atMs : null;
  const measured = `from the kill until a new task had begun and all ${STEADY} running attempts went on`;
  return { killed, measured, aimMs: null, recoveredMs, mustGoOn: true };
}

async function killOwnHost(scene: Scene): Promise<Outcome> {
  const victim = await scene.startHost(1);
  // A success first, so that drills one after the other open no breaker of this host's.
  const first = await scene.submit("short");
  await scene.prepared("a task has succeeded there", () =>
    scene.factsAbout(first).some(({ fact }) => fact.kind === "succeeded"),
  );
  const there = await act(scene, STEADY);
  await scene.startHost(2);
  const { atMs, killed } = await scene.kill(
    `host drill-1, process ${victim.pid} of the drill's own, with ${there.length} tasks`,
    () => victim.kill(),
  );
  return elsewhere(scene, { atMs, killed, there });
}

async function killUsersHost(scene: Scene, { hostId }: DrillOptions): Promise<Outcome> {
  if (hostId === undefined) throw new UsageError("--host: name the host that --command kills");
  const there: string[] = [];
  const others: string[] = [];
  while (there.length === 0 && others.length < MOST_STEADY) {
    const [taskId = ""] = await act(scene, 1, true);
    const started = scene.factsAbout(taskId).find(({ fact }) => fact.kind === "started");
    (started?.fact.speaker === hostId ? there : others).push(taskId);
  }
  if (there.length === 0) throw new Failure(`none of ${MOST_STEADY} tasks came to host ${hostId}`);
  // They would take the room that is wanted next.
  await scene.end(others);
  const { atMs, killed } = await scene.kill(`host ${hostId}`, async () => {});
  return elsewhere(scene, { atMs, killed: `host ${hostId}, by ${killed}`, there });
}

async function elsewhere(
  scene: Scene,
  { atMs, killed, there }: { atMs: number; killed: string; there: string[] },
): Promise<Outcome> {
  const again = (taskId: string) =>
    scene.factsAbout(taskId).find((one) => one.fact.kind === "started" && one.atMs > atMs);
  const all = await scene.within(scene.patienceMs, () =>
    there.every((taskId) => again(taskId) !== undefined),
  );
  const recoveredMs = all ? Math.max(...there.map((taskId) => again(taskId)?.atMs ?? 0)) - atMs : null;
  if (all)
    await scene.within(scene.patienceMs, async () =>
      (await Promise.all(there.map((taskId) => scene.actsOf(taskId)))).every((acts) =>
        acts.some(({ attempt }) => attempt > 1),
      ),
    );
  return {
    killed,
    measured: `from the kill until its ${there.length} tasks had begun again (a host is silent for ${silenceMs(scene.times) / 1_000} s before it is called lost)`,
    aimMs: silenceMs(scene.times) + FAILOVER_AIM_MS,
    recoveredMs,
    mustGoOn: false,
  };
}

/** Tasks of which each has begun to act. */
async function act(scene: Scene, count: number, anywhere = false): Promise<string[]> {
  const taskIds: string[] = [];
  for (let number = 0; number < count; number++) taskIds.push(await scene.submit("steady", anywhere));
  await scene.prepared(`${count} task${count === 1 ? "" : "s"} of the drill's own run`, async () =>
    (await Promise.all(taskIds.map((taskId) => scene.actsOf(taskId)))).every((acts) => acts.length > 0),
  );
  return taskIds;
}

/** From a moment until the fact is heard, ms; null if it is not. */
async function sinceUntil(scene: Scene, atMs: number, taskId: string, kind: string): Promise<number | null> {
  const find = () => scene.factsAbout(taskId).find(({ fact }) => fact.kind === kind);
  await scene.within(scene.patienceMs, () => find() !== undefined);
  const heard = find();
  return heard === undefined ? null : heard.atMs - atMs;
}
