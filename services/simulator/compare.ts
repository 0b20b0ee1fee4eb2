// Runs of several policies on the same tasks and machines, spread over threads. A run in a thread of its own leaves
// the caller free to be interrupted.
import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import type { PlacementPolicy, PlacementWeights } from "../../shared/config/settings.ts";
import { type Answer, answer } from "../../shared/contracts/failure.ts";
import { ownThread } from "../../shared/process/own-program.ts";
import type { Machine } from "./machines.ts";
import { type Outcome, outcomeOf } from "./measures.ts";
import { meshDecider } from "./mesh-decider.ts";
import { omniscient } from "./omniscient.ts";
import type { Workload } from "./workload.ts";
import { simulateRun } from "./world.ts";

export type DeciderName = PlacementPolicy | "omniscient";

export interface Contender {
  decider: DeciderName;
  /** `placement.learn`: what attempts needed is counted for tasks that name no memory. */
  learn: boolean;
}

export interface Job extends Contender {
  machines: Machine[];
  workload: Workload;
  seed: number;
  heartbeatMs: number;
  weights: PlacementWeights;
}

/** One run, in this thread. */
export async function runJob({ decider, weights, learn, ...options }: Job): Promise<Answer<Outcome>> {
  const { seed, heartbeatMs } = options;
  const ran = await simulateRun(options, (world) =>
    decider === "omniscient"
      ? omniscient(world)
      : meshDecider(world, { policy: decider, weights, learn, heartbeatMs, seed }),
  );
  return ran.ok ? answer(outcomeOf(ran.value, options.workload.arrivalMs.length)) : ran;
}

/** The jobs' outcomes in their order, or why one of them cannot be run; rejects when the signal aborts. */
export async function runJobs(
  jobs: Job[],
  { onDone, signal }: { onDone: (done: number) => void; signal: AbortSignal },
): Promise<Answer<Outcome[]>> {
  const outcomes: Outcome[] = [];
  let refused: Extract<Answer<Outcome>, { ok: false }> | null = null;
  let next = 0;
  let done = 0;
  const work = async () => {
    for (let index = next++; index < jobs.length && refused === null; index = next++) {
      const outcome = await inThread(jobs[index] as Job, signal);
      if (outcome.ok) outcomes[index] = outcome.value;
      else refused = outcome;
      onDone(++done);
    }
  };
  await Promise.all(Array.from({ length: Math.min(jobs.length, availableParallelism()) }, work));
  return refused ?? answer(outcomes);
}

function inThread(job: Job, signal: AbortSignal): Promise<Answer<Outcome>> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const worker = new Worker(ownThread("services/simulator/run-thread.ts"), { workerData: job });
    const stop = () => {
      void worker.terminate();
      reject(signal.reason as Error);
    };
    signal.addEventListener("abort", stop, { once: true });
    worker.once("message", resolve);
    worker.once("error", reject);
    worker.once("exit", () => signal.removeEventListener("abort", stop));
  });
}
