// The seam between an attempt and what it runs: a runner says what to start, and what its end means.
import type { Failure } from "../../../shared/contracts/failure.ts";
import type { DeployRequest } from "../../../shared/contracts/task.ts";
import type { ExitRecord } from "../supervisor-link.ts";

export interface Runner {
  readonly name: string;
  /** Null if the request asks for nothing to be run. */
  plan(request: DeployRequest): { argv: string[]; env: Record<string, string> } | null;
  /** Null if it went well. Time-outs, limits and stops are judged before. */
  judge(exit: ExitRecord): Failure | null;
}
