// The work of one attempt: prepare the tree → run → take the patch → validate on a fresh tree → keep what
// there is to show. It knows nothing of the log but the stretch it may run under.
import { mkdir, rm, stat, writeFile } from "node:fs/promises";
import path from "node:path";
import type { Logger } from "pino";
import type { Bus } from "../../shared/bus/connect.ts";
import type { Failure } from "../../shared/contracts/failure.ts";
import {
  type AttemptResult,
  budgetOf,
  type DeployRequest,
  isForAgent,
  REQUEST_DEFAULTS,
  runnerOf,
} from "../../shared/contracts/task.ts";
import { FINDINGS_SHOWN, type Finding, TASK_TYPES } from "../../shared/contracts/task-type.ts";
import { publishArtifact } from "./artifacts.ts";
import { type Executor, type Outcome, Stop, type Work } from "./executor.ts";
import { commandInWords, type Gate, runGates } from "./gates.ts";
import { createInstance, type Instance } from "./instance.ts";
import { keepWorkspace } from "./keep-workspace.ts";
import { createLogSink } from "./log-sink.ts";
import { planOf } from "./plan.ts";
import type { Redactor } from "./redaction.ts";
import type { Runner } from "./runner/runner.ts";
import { runRunner } from "./runner-run.ts";
import type { ExitRecord } from "./supervisor-link.ts";
import type { DependencyUse } from "./workspace/dependency-caches.ts";
import { isDiskFull, isNoSpace } from "./workspace/disk.ts";
import type { Patch } from "./workspace/patch.ts";
import type { PreparedTree, TreeOptions } from "./workspace/tree.ts";
import { TRUSTED_PATHS } from "./workspace/trusted-files.ts";

export interface AttemptOptions {
  bus: Bus;
  hostId: string;
  /** Where what an attempt leaves lies until it is on the bus. */
  artifactsFolder: string;
  runners: Runner[];
  /** Takes secrets out of all that leaves an attempt; a patch with one of this host's own does not leave it. */
  redactor: Redactor;
  log: Logger;
}

/** An attempt's failure on its way to its outcome. */
class Failed extends Error {
  readonly failure: Failure;
  constructor(failure: Failure) {
    super(failure.message);
    this.failure = failure;
  }
}

export const attemptExecutor =
  (options: AttemptOptions): Executor =>
  async (work) => {
    const folder = path.join(options.artifactsFolder, work.attemptKey);
    const { guest, workspaces } = work.machine;
    const end = () => void guest.release(work.attemptKey);
    const beganMs = performance.now();
    const result = nothingYet();
    work.signal.addEventListener("abort", end);
    try {
      await mkdir(folder, { recursive: true, mode: 0o700 });
      const outcome = await attempt(options, work, folder, result);
      if (!outcome.ok) await keepWorkspace(options, work, outcome.failure);
      return outcome;
    } catch (error) {
      const stopped = work.signal.aborted ? (work.signal.reason as Stop).failure : "dropped";
      if (stopped === "dropped") throw error;
      // Whoever had it end: what it has used until then counts.
      result.durationMs = performance.now() - beganMs;
      return { ok: false, failure: stopped, result };
    } finally {
      work.signal.removeEventListener("abort", end);
      await guest.release(work.attemptKey);
      const removed = [workspaces.remove(work.attemptKey), rm(folder, { recursive: true, force: true })];
      for (const outcome of await Promise.allSettled(removed))
        if (outcome.status === "rejected")
          options.log.error(
            { error: outcome.reason as unknown, attemptKey: work.attemptKey },
            "an attempt's files could not be removed",
          );
    }
  };

const nothingYet = (): AttemptResult => ({
  exitCode: null,
  signal: null,
  durationMs: 0,
  phases: {},
  checks: [],
  artifacts: [],
});

/** Writes what becomes known on `result`, which is the outcome's. */
async function attempt(
  options: AttemptOptions,
  work: Work,
  folder: string,
  result: AttemptResult,
): Promise<Outcome> {
  const { bus, hostId, runners, redactor } = options;
  const { guest, workspaces } = work.machine;
  const { taskId, attempt, request } = work.order;
  const beganMs = performance.now();
  const timeoutMs = request.timeoutMs ?? REQUEST_DEFAULTS.timeoutMs;
  const files = new Map<string, string>();
  await using sink = createLogSink(bus, redactor, { taskId, attempt, hostId });
  const fileOf = (name: string) => {
    const file = path.join(folder, name);
    files.set(name, file);
    return file;
  };

  let failure: Failure | null = null;
  try {
    sink.phase("preparing", `checking out ${request.repository} at ${request.sha.slice(0, 12)}`);
    const isAgents = isForAgent(request);
    const tree = await checkOut("work", timeoutMs, "work", { trusted: isAgents });
    const planned = planOf(request, tree.base ?? { isThere: false, configuration: null });
    if (!planned.ok) throw new Failed(planned.failure);
    const { plan } = planned;
    for (const note of plan.notes) sink.phase("preparing", note);
    const bounded = { ...work, order: { ...work.order, request: plan.request } };
    result.phases.prepareMs = performance.now() - beganMs;
    const instance = createInstance(bounded, tree, {
      hostId,
      redactor,
      budgetMs: (plan.request.timeoutMs ?? timeoutMs) - result.phases.prepareMs,
      ...(isAgents ? { outOfPatch: TRUSTED_PATHS } : {}),
    });
    const stretch = await work.stretch();
    const ran = await run(instance, stretch, plan.request);
    // Whatever became of it: what it has left is there to be seen.
    const patch = await takePatch(instance);
    const problem = ran ?? patch.problem;
    if (problem !== null) throw new Failed(problem);
    await validate(bounded, plan.gates, instance, { file: patch.file, gitDir: tree.gitDir });
  } catch (error) {
    if (error instanceof Stop) throw error;
    if (error instanceof Failed) failure = error.failure;
    else if (isNoSpace(error)) failure = diskFull("");
    else throw error;
    failure = { ...failure, message: redactor.text(failure.message) };
    if (failure.category !== "resource" && (await isAnyDiskFull()))
      failure = diskFull(`: ${failure.message}`);
  }
  result.durationMs = performance.now() - beganMs;
  work.signal.throwIfAborted();
  await keepArtifacts();
  if (failure === null) return { ok: true, result };
  return { ok: false, failure, result };

  async function checkOut(
    name: string,
    budgetMs: number,
    use: DependencyUse,
    base?: TreeOptions["base"],
  ): Promise<PreparedTree> {
    const outOfTime = AbortSignal.timeout(Math.max(1, Math.ceil(budgetMs)));
    const source = {
      cloneUrl: request.cloneUrl,
      branch: request.branch,
      sha: request.sha,
      ...(request.prNumber === undefined ? {} : { prNumber: request.prNumber }),
      ...(request.baseBranch === undefined ? {} : { baseBranch: request.baseBranch }),
      ...(request.fork === true ? { isStrangers: true } : {}),
    };
    const prepared = await workspaces.prepare(
      { attemptKey: work.attemptKey, name, source, base, dependencies: request.fork === true ? null : use },
      AbortSignal.any([work.signal, outOfTime]),
    );
    work.signal.throwIfAborted();
    if (prepared.ok) return prepared.tree;
    if (outOfTime.aborted)
      throw new Failed({ category: "timeout", message: "checking out took longer than the task may" });
    const { category, message, permanent } = prepared;
    throw new Failed({ category, message, permanent });
  }

  /** Null if it went well, or there was nothing to run. */
  async function run(instance: Instance, stretch: string, planned: DeployRequest): Promise<Failure | null> {
    const name = runnerOf(request);
    if (name === null) return null;
    const runner = runners.find((known) => known.name === name);
    if (runner === undefined) return { category: "setup", message: `host ${hostId} has no runner ${name}` };
    sink.phase("running", `running ${commandInWords(request.run?.command ?? name)}`);
    const { exit, failure, agent, findings } = await runRunner({
      runner,
      request: planned,
      allowance: work.order.allowance ?? budgetOf(request) ?? {},
      instance,
      stretch,
      sink,
      signal: work.signal,
      fileOf,
      onRun: work.onRun,
    });
    result.exitCode = exit.exitCode;
    result.signal = exit.signal;
    result.phases.runMs = exit.durationMs;
    countMemory(exit);
    if (agent !== undefined) result.agent = redacted(agent);
    work.signal.throwIfAborted();
    if (findings !== undefined) await keepFindings(redacted(findings));
    if (failure === null && findings === undefined && TASK_TYPES[request.type].findings === "required")
      return { category: "agent", message: "the agent told no findings, which are its answer" };
    return failure;
  }

  async function keepFindings(findings: Finding[]): Promise<void> {
    const first = findings.slice(0, FINDINGS_SHOWN);
    if (result.agent !== undefined) result.agent.findings = { total: findings.length, first };
    await writeFile(fileOf("findings"), JSON.stringify(findings, null, 2));
  }

  function redacted<Value>(value: Value): Value {
    return JSON.parse(redactor.text(JSON.stringify(value))) as Value;
  }

  async function takePatch(instance: Instance): Promise<{ file: string; problem: Failure | null }> {
    sink.phase("collecting", "taking the patch");
    const file = fileOf("patch");
    const { leftOut, failure } = await instance.writePatch(file);
    work.signal.throwIfAborted();
    for (const line of leftOut) sink.phase("collecting", line);
    if (failure !== null || (await stat(file)).size === 0) return { file, problem: failure };
    const unbundled = await instance.writeBundle(fileOf("bundle"));
    work.signal.throwIfAborted();
    if (unbundled !== null) sink.phase("collecting", `no bundle could be made: ${unbundled}`);
    return { file, problem: TASK_TYPES[request.type].readsOnly ? CHANGED : null };
  }

  async function validate(bounded: Work, gates: Gate[], worked: Instance, patch: Patch): Promise<void> {
    if (gates.length === 0) return;
    const validatedMs = performance.now();
    sink.phase("validating", `${gates.length} gate${gates.length === 1 ? "" : "s"} on a fresh tree`);
    const tree = await checkOut("validation", worked.budgetMs(), "gates");
    const applied = await workspaces.applyPatch(tree, patch, work.signal);
    work.signal.throwIfAborted();
    if (!applied.ok)
      throw new Failed({ category: "gate", message: `the patch does not apply: ${applied.message}` });
    const budgetMs = worked.budgetMs() - (performance.now() - validatedMs);
    const instance = createInstance(bounded, tree, { hostId, redactor, budgetMs });
    const problem = await runGates(gates, {
      instance,
      stretch: await work.stretch(),
      sink,
      signal: work.signal,
      fileOf,
      onResult(check, exit) {
        countMemory(exit);
        result.checks.push(check);
      },
    });
    result.phases.validateMs = performance.now() - validatedMs;
    if (problem !== null) throw new Failed(problem);
  }

  function countMemory({ peakMemoryBytes = 0 }: ExitRecord): void {
    const most = Math.max(result.peakMemoryBytes ?? 0, peakMemoryBytes);
    if (most > 0) result.peakMemoryBytes = most;
  }

  /** Work that fills the disk has used too much; where none had begun, this host lacks the room for any. */
  function diskFull(what: string): Failure {
    const category = result.phases.prepareMs === undefined ? "host" : "resource";
    return { category, message: `the disk of host ${hostId} is full${what}` };
  }

  /** The trees need not lie on the disk that what is left of them is written to. */
  async function isAnyDiskFull(): Promise<boolean> {
    return (await isDiskFull(folder)) || workspaces.isDiskFull();
  }

  async function keepArtifacts(): Promise<void> {
    if (await isAnyDiskFull()) {
      // What the work has left there makes room for what tells of it.
      await guest.release(work.attemptKey);
      await workspaces.remove(work.attemptKey);
    }
    const { artifacts, ...told } = result;
    await writeFile(fileOf("result"), redactor.text(JSON.stringify({ ...told, failure }, null, 2)));
    for (const [name, file] of files)
      artifacts.push(await publishArtifact(bus, { taskId, attempt, hostId }, name, file, work.signal));
  }
}

const CHANGED: Failure = {
  category: "agent",
  message: "it changed the tree, which a task of its type may not: what it has changed is in the patch",
};
