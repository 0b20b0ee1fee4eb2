// What an attempt does: prepare the tree → run → take the patch → validate on a fresh tree → keep what there is to
// show. What it meets on the way is its outcome; only a `Stop`, or a bug, is thrown.
import { stat, writeFile } from "node:fs/promises";
import type { AttemptResult } from "../../../shared/contracts/attempt-result.ts";
import {
  budgetOf,
  type DeployRequest,
  isForAgent,
  REQUEST_DEFAULTS,
  runnerOf,
} from "../../../shared/contracts/deploy-request.ts";
import type { Failure } from "../../../shared/contracts/failure.ts";
import { FINDINGS_SHOWN, type Finding, TASK_TYPES } from "../../../shared/contracts/task-type.ts";
import { type Outcome, Stop, type Work } from "../held/executor.ts";
import { networkProblem, openNetwork } from "../network/instance-network.ts";
import { redactedCut } from "../redaction.ts";
import { SUMMARY_CHARACTERS } from "../runner/agent-result.ts";
import { cutFinding } from "../runner/findings.ts";
import { runInSession } from "../session/run.ts";
import type { ExitRecord } from "../supervisor/supervisor-link.ts";
import { isDiskFull, isNoSpace } from "../workspace/disk.ts";
import type { BaseBranch } from "../workspace/tree.ts";
import { TRUSTED_PATHS } from "../workspace/trusted-files.ts";
import type { AttemptOptions } from "./attempt.ts";
import { checkOut } from "./checkout.ts";
import { Failed } from "./failed.ts";
import { attemptFiles } from "./files.ts";
import { commandInWords } from "./gates.ts";
import { createInstance, type Instance } from "./instance.ts";
import { createLogSink } from "./log-sink.ts";
import { planOf } from "./plan.ts";
import { type RunnerRunOptions, runRunner } from "./runner-run.ts";
import { usageReport } from "./usage-report.ts";
import { validate } from "./validation.ts";

/** Writes what becomes known on `result`, which is the outcome's. */
export async function attemptWork(
  options: AttemptOptions,
  work: Work,
  folder: string,
  result: AttemptResult,
): Promise<Outcome> {
  const { bus, hostId, runners, redactor, keepsSessions } = options;
  const { taskId, attempt, request } = work.order;
  const beganMs = performance.now();
  const timeoutMs = request.timeoutMs ?? REQUEST_DEFAULTS.timeoutMs;
  const owner = { taskId, attempt, hostId };
  const files = attemptFiles(folder, { bus, redactor, owner, signal: work.signal });
  const { fileOf } = files;
  await using sink = createLogSink(bus, redactor, owner);

  let failure: Failure | null = null;
  try {
    sink.phase("preparing", `checking out ${request.repository} at ${request.sha.slice(0, 12)}`);
    const isAgents = isForAgent(request);
    const tree = await checkOutWork();
    const planned = planOf(request, tree.base ?? NO_BASE, options.network);
    if (!planned.ok) throw new Failed(planned.failure);
    const { plan } = planned;
    for (const note of plan.notes) sink.phase("preparing", note);
    const granted = await options.secrets.grant(plan.secrets, request.cloneUrl);
    // Another host may have them.
    if (!granted.ok) throw new Failed({ category: "setup", message: granted.message });
    const secrets = granted.values;
    const unkept = networkProblem(plan.network, work.machine.guest);
    // Another host may have one.
    if (unkept !== null) throw new Failed({ category: "setup", message: unkept });
    const networkHere = () =>
      openNetwork(
        plan.network,
        { guest: work.machine.guest, attemptKey: work.attemptKey },
        options.network,
        (words) => sink.phase("running", words),
      );
    using network = networkHere();
    // Where it is now: its gates may run elsewhere.
    const bounded = () => ({ ...work, order: { ...work.order, request: plan.request } });
    result.phases.prepareMs = performance.now() - beganMs;
    const instance = createInstance(bounded(), tree, {
      hostId,
      redactor,
      secrets,
      network,
      budgetMs: (plan.request.timeoutMs ?? timeoutMs) - result.phases.prepareMs,
      ...(isAgents ? { outOfPatch: TRUSTED_PATHS } : {}),
    });
    const stretch = await work.stretch();
    const ran = await run(instance, stretch, plan.request);
    // Whatever became of it: what it has left is there to be seen.
    const patch = await takePatch(instance);
    const problem = ran ?? patch.problem;
    if (problem !== null) throw new Failed(problem);
    const takenMs = performance.now();
    const hasMoved = plan.gates.length > 0 && work.machine.isWorkRoot;
    if (hasMoved) await moveOn(instance.budgetMs());
    using networkThere = hasMoved ? networkHere() : null;
    const budgetMs = instance.budgetMs() - (performance.now() - takenMs);
    await validate(bounded(), plan.gates, { file: patch.file, gitDir: tree.gitDir }, result.phases, {
      ...{ hostId, redactor, secrets, network: networkThere ?? network, budgetMs, sink, fileOf },
      onResult(check, exit) {
        countMemory(exit);
        result.checks.push(check);
      },
    });
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

  function checkOutWork() {
    const base = { trusted: isForAgent(request) };
    return checkOut(work, { name: "work", budgetMs: timeoutMs, use: "work", base });
  }

  async function moveOn(limitMs: number): Promise<void> {
    sink.phase("validating", "its gates wait for an instance that its work has not touched");
    const none = await work.moveOn(limitMs);
    if (none !== null) throw new Failed(none);
  }

  /** Null if it went well, or there was nothing to run. */
  async function run(instance: Instance, stretch: string, planned: DeployRequest): Promise<Failure | null> {
    const name = runnerOf(request);
    if (name === null) return null;
    const runner = runners.find((known) => known.name === name);
    if (runner === undefined) return { category: "setup", message: `host ${hostId} has no runner ${name}` };
    sink.phase("running", `running ${commandInWords(request.run?.command ?? name)}`);
    const options: RunnerRunOptions = {
      runner,
      request: planned,
      allowance: work.order.allowance ?? budgetOf(request) ?? {},
      instance,
      stretch,
      sink,
      signal: work.signal,
      fileOf,
      onRun: work.onRun,
      redactor,
    };
    const { exit, failure, agent, models, findings } = keepsSessions
      ? await runInSession(options, {
          ...{ bus, owner, redactor, clean: checkOutWork },
          hasRoom: () => hasRoomBeside(planned),
        })
      : await runRunner(options);
    result.exitCode = exit.exitCode;
    result.signal = exit.signal;
    result.phases.runMs = exit.durationMs;
    countMemory(exit);
    if (agent !== undefined) {
      result.agent = {
        ...redacted(agent),
        summary: redactedCut(redactor, agent.summary, SUMMARY_CHARACTERS),
      };
      const report = redacted(usageReport(agent, models, exit.durationMs));
      await writeFile(fileOf("usage"), JSON.stringify(report, null, 2));
    }
    work.signal.throwIfAborted();
    if (findings !== undefined) await keepFindings(findings.map((finding) => cutFinding(finding, redactor)));
    if (failure === null && findings === undefined && TASK_TYPES[request.type].findings === "required")
      return { category: "agent", message: "the agent told no findings, which are its answer" };
    return failure;
  }

  /** What is taken of the work meanwhile counts as the attempt's memory, and must not be what is too much of it. */
  function hasRoomBeside({ limits }: DeployRequest): boolean {
    const mayBytes = Math.min(work.memoryLimitBytes, limits?.memoryBytes ?? work.memoryLimitBytes);
    return (work.machine.guest.useOf(work.attemptKey)?.memoryBytes ?? 0) < MEMORY_SHARE * mayBytes;
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
    return (await isDiskFull(folder)) || work.machine.workspaces.isDiskFull();
  }

  async function keepArtifacts(): Promise<void> {
    if (await isAnyDiskFull()) {
      // What the work has left there makes room for what tells of it.
      const { guest, workspaces } = work.machine;
      await guest.release(work.attemptKey);
      await workspaces.remove(work.attemptKey);
    }
    await files.publish(result, failure);
  }
}

const MEMORY_SHARE = 0.75;

const NO_BASE: BaseBranch = { isThere: false, configuration: null, templates: {} };

const CHANGED: Failure = {
  category: "agent",
  message: "it changed the tree, which a task of its type may not: what it has changed is in the patch",
};
