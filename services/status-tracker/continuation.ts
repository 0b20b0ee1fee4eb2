// Which earlier attempts the next one may go on from: those that ended for a reason which says nothing against what
// their agent had done. Pure.
import type { FailedAttempt } from "../../shared/contracts/api.ts";
import type { FailureCategory } from "../../shared/contracts/failure.ts";

/** `setup` and `agent` may be the session's own doing, a gate or a limit the work's: whoever tries again begins anew. */
const GOES_ON: Record<FailureCategory, boolean> = {
  source: true,
  quota: true,
  preempted: true,
  host: true,
  lost: true,
  internal: true,
  setup: false,
  agent: false,
  gate: false,
  timeout: false,
  resource: false,
  budget: false,
  cancelled: false,
  rejected: false,
};

/** The latest first; one that kept nothing itself had gone on from those after it in the list, if from any. */
export function continuable(failed: FailedAttempt[], attempt: number): FailedAttempt[] {
  const earlier = failed.filter((one) => one.attempt < attempt).reverse();
  const end = earlier.findIndex(({ category }) => !GOES_ON[category]);
  return end === -1 ? earlier : earlier.slice(0, end);
}
