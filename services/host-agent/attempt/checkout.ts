// One of an attempt's trees, checked out within the time that it has. Nothing of the task's own runs here.
import type { Work } from "../held/executor.ts";
import type { DependencyUse } from "../workspace/dependency-caches.ts";
import type { PreparedTree, TreeOptions } from "../workspace/tree.ts";
import { Failed } from "./failed.ts";

interface WantedCheckout {
  /** Tells the attempt's trees apart; one of this name that is there already goes first. */
  name: string;
  budgetMs: number;
  use: DependencyUse;
  base?: TreeOptions["base"];
}

export async function checkOut(
  { order: { request }, machine, attemptKey, signal }: Work,
  { name, budgetMs, use, base }: WantedCheckout,
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
  const prepared = await machine.workspaces.prepare(
    { attemptKey, name, source, base, dependencies: request.fork === true ? null : use },
    AbortSignal.any([signal, outOfTime]),
  );
  signal.throwIfAborted();
  if (prepared.ok) return prepared.tree;
  if (outOfTime.aborted)
    throw new Failed({ category: "timeout", message: "checking out took longer than the task may" });
  const { category, message, permanent } = prepared;
  throw new Failed({ category, message, permanent });
}
