// What became of a run of Codex, from its last turn and how its process ended. Pure.
import type { Failure, FailureCategory } from "../../../../shared/contracts/failure.ts";
import { endedWithoutResult, howItEnded, infrastructureFailure } from "../../attempt/judgement.ts";
import type { ExitRecord } from "../../supervisor/supervisor-link.ts";
import { categoryOfStatus, statusIn } from "../provider-status.ts";

export interface Evidence {
  exit: ExitRecord;
  started: boolean;
  /** Its turn was completed. */
  completed: boolean;
  /** Why its turn failed; null if it did not. */
  failure: string | null;
  /** The end of its stderr. */
  complaint: string;
}

/** Null if it went well. */
export function verdict({ exit, started, completed, failure, complaint }: Evidence): Failure | null {
  const ended = infrastructureFailure(exit, "the agent");
  if (ended !== null) return ended;
  if (failure !== null)
    return { category: categoryOf(failure), message: `the provider refused: ${failure.slice(0, 1_000)}` };
  if (completed && exit.exitCode === 0) return null;
  if (!started || !completed) return endedWithoutResult(exit, started, complaint);
  const said = complaint.trim() === "" ? "" : `: ${complaint.trim()}`;
  return { category: "agent", message: `the agent ${howItEnded(exit)} after its turn${said}` };
}

/** Codex has its own words for some of them, and no other sign. */
const LATER = /^(Quota exceeded|We.re currently experiencing high demand)/;

function categoryOf(message: string): FailureCategory {
  const status = statusIn(message);
  if (status !== null) return categoryOfStatus(status);
  return LATER.test(message) ? "quota" : "agent";
}
