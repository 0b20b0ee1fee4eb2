// Tasks of all kinds, a steady number of them unfinished, whose commands write down that they act. It submits as an
// orchestrator does that does not give up: the same request again, until the mesh has acknowledged it.
import { setTimeout as delay } from "node:timers/promises";
import type { Chance } from "../../services/simulator/chance.ts";
import { askApi } from "../../shared/bus/ask.ts";
import type { Bus } from "../../shared/bus/connect.ts";
import { submitTask } from "../../shared/bus/submit.ts";
import type { DeployRequest } from "../../shared/contracts/deploy-request.ts";
import { factSubject } from "../../shared/contracts/fact.ts";
import type { Act, History, Kind } from "./history.ts";

export interface WorkloadOptions {
  bus: Bus;
  chance: Chance;
  repository: { url: string; branch: string; sha: string };
  /** Where the commands write their lines. */
  witnessFile: string;
  /** Unfinished at a time. */
  outstanding: number;
  ended: (taskId: string) => boolean;
  signal: AbortSignal;
}

const RETRY_MS = 300;
const ACT_S = 0.2;
const KINDS: [Kind, ...Kind[]] = [
  "works",
  "works",
  "works",
  "works",
  "works",
  "fails",
  "hangs",
  "cancelled",
  "cancelled",
  "poison",
];

/** Submits until the signal aborts; resolves with what was acknowledged, once it is. */
export async function submitTasks(options: WorkloadOptions): Promise<History["acknowledged"]> {
  const { chance, outstanding, ended, signal } = options;
  const acknowledged: History["acknowledged"] = [];
  const submitting = new Set<Promise<void>>();
  let number = 0;
  while (!signal.aborted) {
    const unfinished = acknowledged.filter(({ taskId }) => !ended(taskId)).length + submitting.size;
    if (unfinished >= outstanding) {
      await delay(50);
      continue;
    }
    const kind = chance.pick(KINDS);
    const taskId = `t${++number}-${kind}`;
    const work = plan(kind, chance);
    const submitted = submitOne(options, taskId, kind, work).then(() => {
      acknowledged.push({ taskId, kind });
      submitting.delete(submitted);
    });
    submitting.add(submitted);
  }
  await Promise.all(submitting);
  return acknowledged;
}

interface Plan {
  acts: number;
  /** Deaf to SIGTERM. */
  deaf: boolean;
  twice: boolean;
  cancelAfterMs: number;
}

const plan = (kind: Kind, chance: Chance): Plan => ({
  acts: kind === "hangs" ? 100_000 : Math.round(chance.between(1, kind === "cancelled" ? 60 : 20)),
  deaf: chance.next() < 0.3,
  twice: chance.next() < 0.2,
  cancelAfterMs: chance.between(0, 4_000),
});

async function submitOne(options: WorkloadOptions, taskId: string, kind: Kind, work: Plan): Promise<void> {
  const { bus, repository } = options;
  if (kind === "poison") return publishPoison(bus, taskId);
  const request: DeployRequest = {
    type: "pr_deployment",
    taskId,
    repository: "acme/chaos",
    branch: repository.branch,
    sha: repository.sha,
    cloneUrl: repository.url,
    resources: { memoryBytes: 1_000_000 },
    maxAttempts: 100,
    timeoutMs: kind === "hangs" ? 1_500 : 600_000,
    run: { command: commandOf(kind, work), env: { WITNESS: options.witnessFile } },
  };
  const submit = async () => {
    while (!(await submitTask(bus, request)).ok) await delay(RETRY_MS);
  };
  await Promise.all([submit(), ...(work.twice ? [submit()] : [])]);
  if (kind !== "cancelled") return;
  await delay(work.cancelAfterMs);
  for (;;) {
    const cancelled = await askApi(bus, "cancel", { taskId });
    if (cancelled.ok || cancelled.error.code === "conflict") return;
    await delay(RETRY_MS);
  }
}

async function publishPoison(bus: Bus, taskId: string): Promise<void> {
  const subject = factSubject.build({ taskId, kind: "requested", speaker: "normal" });
  const expect = { lastSubjectSequence: 0, lastSubjectSequenceSubject: `mesh.task.${taskId}.>` };
  for (let stored = false; !stored; ) {
    stored = await bus.js.publish(subject, "{ this is no JSON", { expect }).then(
      () => true,
      // Stored before, and only the answer was lost.
      (error: { code?: number }) => error.code === 10_071,
    );
    if (!stored) await delay(RETRY_MS);
  }
}

/** In the environment of every process of the workload. */
export const markOf = (witnessFile: string) => `WITNESS=${witnessFile}`;

function commandOf(kind: Kind, { acts, deaf }: Plan): string {
  return [
    deaf ? "trap '' TERM" : ":",
    'act() { echo "$MESH_TASK_ID $MESH_ATTEMPT $MESH_HOST_ID $(date +%s%3N)" >> "$WITNESS"; }',
    `n=0; while [ $n -lt ${acts} ]; do act; sleep ${ACT_S}; n=$((n+1)); done`,
    kind === "fails" ? "exit 3" : "exit 0",
  ].join("\n");
}

export const readActs = (text: string): Act[] =>
  text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => {
      const [taskId = "", attempt, hostId = "", atMs] = line.split(" ");
      return { taskId, attempt: Number(attempt), hostId, atMs: Number(atMs) };
    });
