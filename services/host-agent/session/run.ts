// A run of an agent that may go on where an earlier attempt of its task was cut off, and of which as much is kept for a
// later one. Where going on fails it begins afresh, in the same attempt, and says so.
import type { CheckpointOwner } from "../../../shared/bus/checkpoints.ts";
import type { Bus } from "../../../shared/bus/connect.ts";
import type { AgentResult } from "../../../shared/contracts/attempt-result.ts";
import type { FailureCategory } from "../../../shared/contracts/failure.ts";
import { type RunnerRunOptions, runRunner } from "../attempt/runner-run.ts";
import type { Redactor } from "../redaction.ts";
import type { RunOutcome } from "../runner/runner.ts";
import { findKept, type Kept } from "./find.ts";
import { keepCheckpoints } from "./keep.ts";
import { restoreKept } from "./restore.ts";

export interface SessionOptions {
  bus: Bus;
  owner: CheckpointOwner;
  redactor: Redactor;
  /** The attempt has memory left for something beside its agent. */
  hasRoom(): boolean;
  /** Has the instance's tree and home as they were before anything ran there. */
  clean(): Promise<unknown>;
}

/** Ends of a run that say nothing against it, and are told before the next attempt begins. */
const LAST: FailureCategory[] = ["quota", "host"];

export async function runInSession(run: RunnerRunOptions, options: SessionOptions): Promise<RunOutcome> {
  const { runner, instance, sink, signal, request } = run;
  const { sessions } = runner;
  if (sessions === undefined || !instance.isAlikeEverywhere) return runRunner(run);
  const { bus, owner, redactor, hasRoom } = options;
  const about = { sha: request.sha, runner: runner.name };
  const keeper = keepCheckpoints({
    ...{ bus, owner, about, rules: sessions, instance, redactor, hasRoom },
    onProblem: (words) => sink.phase("running", words),
  });
  const begin = async (resume: Kept | null) => {
    const outcome = await runRunner({ ...run, session: { resume, onDone: keeper.done } });
    if (!outcome.isSessionRefused)
      await keeper.end({ last: outcome.failure !== null && LAST.includes(outcome.failure.category) });
    return outcome;
  };

  const found = await findKept(bus, owner, { ...about, workTree: instance.workTree }, signal);
  const kept = found.ok ? found.kept : null;
  if (kept === null) return afresh(found.ok ? null : found.problem);
  const file = sessions.fileOf(kept.sessionId, instance.workTree);
  const problem = await restoreKept(instance, kept, file);
  signal.throwIfAborted();
  if (problem === null) {
    const { attempt, hostId, turns } = kept;
    const from = `attempt ${attempt}, which host ${hostId} ran`;
    sink.phase("running", `goes on with session and work of ${from}, from after turn ${turns}`);
    const outcome = await begin(kept);
    if (!outcome.isSessionRefused) return telling(outcome, { resumedFrom: { attempt, hostId, turns } });
    signal.throwIfAborted();
  }
  await options.clean();
  return afresh(problem ?? `the agent did not take up session ${kept.sessionId}`);

  async function afresh(why: string | null): Promise<RunOutcome> {
    if (why === null) return begin(null);
    sink.phase("running", `begins afresh, and not where an earlier attempt was cut off: ${why}`);
    return telling(await begin(null), { begunAfresh: why.slice(0, 1_000) });
  }
}

const telling = (outcome: RunOutcome, what: Pick<AgentResult, "resumedFrom" | "begunAfresh">): RunOutcome =>
  outcome.agent === undefined ? outcome : { ...outcome, agent: { ...outcome.agent, ...what } };
