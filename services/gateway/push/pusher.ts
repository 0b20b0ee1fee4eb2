// Pushes what succeeded tasks asked for, and says what became of it, once for each. Whatever it has begun and not said
// is found again from the log, by this gateway or another one.
import { setMaxListeners } from "node:events";
import type { Logger } from "pino";
import type { Bus } from "../../../shared/bus/connect.ts";
import { follow, followTasks } from "../../../shared/bus/follow.ts";
import { standForLeader } from "../../../shared/bus/leadership.ts";
import { PUSHER_ROLE, recordPush } from "../../../shared/bus/pushes.ts";
import { PUSHES } from "../../../shared/bus/streams.ts";
import { grantOf, type MeshConfig } from "../../../shared/config/mesh-config.ts";
import type { DeployRequest } from "../../../shared/contracts/deploy-request.ts";
import { type PushOutcome, park, pushSubject } from "../../../shared/contracts/push.ts";
import type { FoldedFact } from "../../../shared/lifecycle/folded-log.ts";
import { isEnd } from "../../../shared/lifecycle/table.ts";
import { pushPatch, type Tried, type Work } from "./push-patch.ts";

export interface PusherTimes {
  everyMs: number;
  /** The wait after the first try that decided nothing, doubled for each further one. */
  againMs: number;
  /** What could not be decided for so long is parked. */
  patienceMs: number;
}

export const PUSHER_TIMES: PusherTimes = { everyMs: 500, againMs: 2_000, patienceMs: 900_000 };
const LONGEST_WAIT_MS = 60_000;
const IN_DOUBT = "; a push was sent before, and may have arrived: the branch tells";
const AT_ONCE = 4;

interface Job extends Work {
  /** A push was sent, and nobody could be asked what became of it. */
  inDoubt: boolean;
  tries: number;
  firstTriedMs: number | null;
  notBeforeMs: number;
}

/** A mesh whose gateways may push nowhere needs none. */
export async function startPusher(
  bus: Bus,
  config: MeshConfig,
  log: Logger,
  times: PusherTimes = PUSHER_TIMES,
): Promise<AsyncDisposable> {
  await using stack = new AsyncDisposableStack();
  const wanted = new Map<string, DeployRequest>();
  const jobs = new Map<string, Job>();
  /** What is recorded of, and is still to be folded or under way. */
  const said = new Set<string>();
  const active = new Map<string, Promise<void>>();
  const over = new AbortController();
  setMaxListeners(0, over.signal);

  const onFolded = ({ fact, after, counted }: FoldedFact) => {
    if (!counted || fact.body === null) return;
    const { taskId } = fact;
    if (fact.kind === "requested" && fact.body.push === true) wanted.set(taskId, fact.body);
    if (!isEnd(after.state)) return;
    const request = wanted.get(taskId);
    wanted.delete(taskId);
    if (request === undefined || fact.kind !== "succeeded" || said.has(taskId)) return;
    const { attempt, result } = fact.body;
    const work: Work = { taskId, attempt, hostId: fact.speaker, request, result, timeMs: fact.timeMs };
    jobs.set(taskId, { ...work, inDoubt: false, tries: 0, firstTriedMs: null, notBeforeMs: 0 });
  };

  async function work(job: Job): Promise<void> {
    const { taskId, attempt, hostId, request } = job;
    const outcome = await attemptOnce(job);
    if (outcome === null) return;
    const record = { ...outcome, attempt, hostId, branch: request.branch };
    await recordPush(bus, taskId, record);
    log.info({ taskId, ...record }, outcome.state);
    jobs.delete(taskId);
  }

  /** Null if it has to be tried again. */
  async function attemptOnce(job: Job): Promise<PushOutcome | null> {
    const nowMs = performance.now();
    job.firstTriedMs ??= nowMs;
    job.notBeforeMs = nowMs + Math.min(LONGEST_WAIT_MS, times.againMs * 2 ** job.tries++);
    const grant = grantOf(config, job.request.repository);
    const tried = await pushPatch(bus, job, grant, over.signal).catch((error: unknown): Tried => {
      log.error({ error, taskId: job.taskId }, "a push met trouble");
      return { state: "again", why: error instanceof Error ? error.message : String(error) };
    });
    if (tried.state !== "again") return tried;
    job.inDoubt ||= tried.inDoubt === true;
    log.warn({ taskId: job.taskId, why: tried.why }, "not pushed yet; tried again");
    if (over.signal.aborted || performance.now() - job.firstTriedMs < times.patienceMs) return null;
    return park("unreachable", `${tried.why}${job.inDoubt ? IN_DOUBT : ""}`);
  }

  const recorded = stack.use(
    await follow(bus, {
      stream: PUSHES,
      from: 1,
      onMessage: ({ subject }) => {
        const { taskId = "" } = pushSubject.parse(subject) ?? {};
        said.add(taskId);
        if (!active.has(taskId)) jobs.delete(taskId);
      },
    }),
  );
  await recorded.caughtUp;
  const tasks = stack.use(await followTasks(bus, onFolded));
  const leadership = stack.use(
    await standForLeader(bus, PUSHER_ROLE, `${process.pid}`, (leads) =>
      log.info({ leads }, "pushes patches"),
    ),
  );
  stack.defer(async () => {
    over.abort();
    await Promise.all(active.values());
  });
  const timer = setInterval(() => {
    for (const taskId of said) if (!active.has(taskId) && tasks.log.hasEnded(taskId)) said.delete(taskId);
    if (!leadership.leads() || bus.connectedSince() === null) return;
    const nowMs = performance.now();
    for (const job of jobs.values()) {
      if (active.size >= AT_ONCE) return;
      if (active.has(job.taskId) || nowMs < job.notBeforeMs) continue;
      const working = work(job)
        // What was pushed is found again.
        .catch((error: unknown) =>
          log.warn({ error, taskId: job.taskId }, "what became of a push is not said yet"),
        )
        .finally(() => {
          active.delete(job.taskId);
          if (said.has(job.taskId)) jobs.delete(job.taskId);
        });
      active.set(job.taskId, working);
    }
  }, times.everyMs);
  stack.defer(() => clearInterval(timer));
  return stack.move();
}
