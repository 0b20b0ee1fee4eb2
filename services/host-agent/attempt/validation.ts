// The gates of an attempt on a fresh tree with the work's patch, in an instance that the work never touched.
import type { AttemptResult } from "../../../shared/contracts/attempt-result.ts";
import type { Work } from "../held/executor.ts";
import type { InstanceNetwork } from "../network/instance-network.ts";
import type { Redactor } from "../redaction.ts";
import type { Patch } from "../workspace/patch.ts";
import { checkOut } from "./checkout.ts";
import { Failed } from "./failed.ts";
import { type Gate, type GateRun, runGates } from "./gates.ts";
import { createInstance } from "./instance.ts";

interface ValidationOptions extends Pick<GateRun, "sink" | "fileOf" | "onResult"> {
  hostId: string;
  redactor: Redactor;
  /** As the work has them. */
  secrets: Record<string, string>;
  network: InstanceNetwork;
  /** What the work has left of the attempt's time. */
  budgetMs: number;
}

/** Throws what refutes the work, or keeps anybody from telling. Writes on `phases` how long it took. */
export async function validate(
  work: Work,
  gates: Gate[],
  patch: Patch,
  phases: AttemptResult["phases"],
  { hostId, redactor, secrets, network, budgetMs, sink, fileOf, onResult }: ValidationOptions,
): Promise<void> {
  if (gates.length === 0) return;
  const beganMs = performance.now();
  sink.phase("validating", `${gates.length} gate${gates.length === 1 ? "" : "s"} on a fresh tree`);
  const tree = await checkOut(work, { name: "validation", budgetMs, use: "gates" });
  const applied = await work.machine.workspaces.applyPatch(tree, patch, work.signal);
  work.signal.throwIfAborted();
  if (!applied.ok) throw new Failed({ category: applied.category, message: applied.message });
  const leftMs = budgetMs - (performance.now() - beganMs);
  const instance = createInstance(work, tree, { hostId, redactor, secrets, network, budgetMs: leftMs });
  const stretch = await work.stretch();
  const problem = await runGates(gates, {
    ...{ instance, stretch, sink, signal: work.signal, fileOf, onResult },
  });
  phases.validateMs = performance.now() - beganMs;
  if (problem !== null) throw new Failed(problem);
}
