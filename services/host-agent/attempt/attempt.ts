// The work of one attempt from its first file to its last: done in a folder of its own, and, however it ends, seen
// gone. It knows nothing of the log but the stretch it may run under.
import { mkdir, rm } from "node:fs/promises";
import path from "node:path";
import type { Logger } from "pino";
import type { Bus } from "../../../shared/bus/connect.ts";
import type { AttemptResult } from "../../../shared/contracts/attempt-result.ts";
import type { Executor, Stop } from "../held/executor.ts";
import type { OwnersNetwork } from "../network/plan.ts";
import type { Redactor } from "../redaction.ts";
import type { Runner } from "../runner/runner.ts";
import type { GrantSecrets } from "../secrets/host-secrets.ts";
import { keepWorkspace } from "./keep-workspace.ts";
import { attemptWork } from "./work.ts";

export interface AttemptOptions {
  bus: Bus;
  hostId: string;
  /** Where what an attempt leaves lies until it is on the bus. */
  artifactsFolder: string;
  runners: Runner[];
  /** Takes secrets out of all that leaves an attempt; a patch with one of this host's own does not leave it. */
  redactor: Redactor;
  secrets: GrantSecrets;
  /** Of an agent's session and work as much is kept, for as long as it runs, as another attempt needs to go on. */
  keepsSessions: boolean;
  /** What its owner lets attempts reach. */
  network: OwnersNetwork;
  log: Logger;
}

export const attemptExecutor =
  (options: AttemptOptions): Executor =>
  async (work) => {
    const folder = path.join(options.artifactsFolder, work.attemptKey);
    const end = () => void work.machine.guest.release(work.attemptKey);
    const beganMs = performance.now();
    const result = nothingYet();
    work.signal.addEventListener("abort", end);
    try {
      await mkdir(folder, { recursive: true, mode: 0o700 });
      const outcome = await attemptWork(options, work, folder, result);
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
      const { guest, workspaces } = work.machine;
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
