// What kinds of task there are, and what each means for the agent that works on one.
import { z } from "zod";

/**
 * `pr_deployment` does what its request says · `fix` has an agent mend the pull request · `code_analysis` has one read
 * it and tell what it finds · `validation` judges the commit as it is, by its gates.
 */
export const TaskType = z.enum(["pr_deployment", "code_analysis", "validation", "fix"]);
export type TaskType = z.infer<typeof TaskType>;

interface Meaning {
  /** An agent works on it even where the request names no prompt. */
  agent: boolean;
  /** Its work may change nothing: a patch refutes it. */
  readsOnly: boolean;
  /** What the agent is asked to tell in a form of its own; without what is required, the attempt fails. */
  findings: "none" | "advice" | "required";
  /** Without a single gate or check it would judge nothing, and fails. */
  needsGates: boolean;
}

export const TASK_TYPES: Record<TaskType, Meaning> = {
  pr_deployment: { agent: false, readsOnly: false, findings: "none", needsGates: false },
  code_analysis: { agent: true, readsOnly: true, findings: "required", needsGates: false },
  validation: { agent: false, readsOnly: true, findings: "advice", needsGates: true },
  fix: { agent: true, readsOnly: false, findings: "advice", needsGates: false },
};

/** Something that an agent has found: advice, and no verdict. */
export const Finding = z.object({
  /** Path from the top of the tree. */
  file: z.string().max(1_000),
  line: z.int().positive().nullable(),
  severity: z.enum(["error", "warning", "info"]),
  message: z.string().max(2_000),
});
export type Finding = z.infer<typeof Finding>;
/** The same as a fact tells it: no result is unreadable for a severity that only a newer host knows. */
export const ToldFinding = Finding.extend({ severity: Finding.shape.severity.catch("info") });

/** So many of them stand in the result itself; the artifact `findings` has all that are kept. */
export const FINDINGS_SHOWN = 20;
