// One run in a folder of its own, held against the invariants. The folder goes with a good run; of a bad one it keeps
// the history, the faults, the seed and what the services said.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { makeRepository } from "../support/repository.ts";
import { type Violation, violationsOf } from "./checker.ts";
import { type RunOptions, runChaos } from "./run.ts";

export interface JudgedRun {
  tasks: number;
  attempts: number;
  /** Witness lines. */
  acts: number;
  faults: number;
  violations: Violation[];
  crashes: string[];
  /** Where a bad run's history is. */
  keptIn: string | null;
}

export async function judgedRun(options: Omit<RunOptions, "folder" | "repository">): Promise<JudgedRun> {
  const folder = await mkdtemp(path.join(tmpdir(), "mesh-chaos-"));
  using repository = makeRepository();
  const { url, branch, headSha: sha } = repository;
  const { history, faults, crashes } = await runChaos({
    ...options,
    folder,
    repository: { url, branch, sha },
  });
  const violations = violationsOf(history);
  const good = violations.length === 0 && crashes.length === 0;
  if (good) await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  else
    await writeFile(
      path.join(folder, "history.json"),
      JSON.stringify({ seed: options.seed, violations, crashes, faults, history }),
    );
  return {
    tasks: history.acknowledged.length,
    attempts: history.facts.filter(({ kind }) => kind === "started").length,
    acts: history.acts.length,
    faults: faults.length,
    violations,
    crashes,
    keptIn: good ? null : folder,
  };
}
