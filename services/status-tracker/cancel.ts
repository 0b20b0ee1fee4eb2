// Puts wishes to cancel on the log: of one task, or of every unfinished one of a pull request or a repository.
import { appendFact } from "../../shared/bus/append.ts";
import type { Bus } from "../../shared/bus/connect.ts";
import type { ApiReply, CancelRequest } from "../../shared/contracts/api.ts";
import { type Answer, answer, refuse } from "../../shared/contracts/failure.ts";
import { CONTROL } from "../../shared/contracts/ids.ts";
import { isEnd } from "../../shared/lifecycle/table.ts";
import type { Known } from "./known.ts";
import type { Ledger } from "./ledger.ts";

const CANCEL_MS = 5_000;

export function cancels(bus: Bus, ledger: Ledger, { find, upToDate }: Known) {
  /** Says that the task is to be cancelled, again after whatever was said in between. */
  async function cancelOne(taskId: string, reason: string): Promise<Answer<boolean>> {
    const deadline = performance.now() + CANCEL_MS;
    let minSequence = 0;
    while (performance.now() < deadline) {
      const found = await find(taskId, minSequence);
      if (!found.ok) return found;
      const { lifecycle, view } = found.value;
      if (isEnd(lifecycle.state)) return answer(view.state === "cancelled");
      if (lifecycle.state === "cancelling") return answer(true);
      if (lifecycle.state !== "unknown") {
        const said = await appendFact(
          bus,
          {
            taskId,
            kind: "cancelRequested",
            speaker: CONTROL,
            body: { after: lifecycle.lastSequence, reason },
          },
          { deadlineMs: CANCEL_MS, truth: async () => answer(null) },
        );
        if (said.outcome === "appended") return answer(true);
      }
      minSequence = lifecycle.lastSequence + 1;
    }
    return refuse(
      "unavailable",
      `the wish to cancel task ${taskId} could not be put on the log; send it again`,
    );
  }

  async function cancel(request: CancelRequest): Promise<Answer<ApiReply<"cancel">>> {
    const reason = request.reason ?? "cancelled on request";
    if ("taskId" in request) {
      const cancelled = await cancelOne(request.taskId, reason);
      if (!cancelled.ok) return cancelled;
      if (!cancelled.value)
        return refuse("conflict", `task ${request.taskId} has ended: there is nothing to cancel`);
      return answer({ cancelled: [request.taskId] });
    }
    const followed = await upToDate();
    if (!followed.ok) return followed;
    const updatedAtMs =
      "updatedAt" in request && request.updatedAt ? Date.parse(request.updatedAt) : Number.POSITIVE_INFINITY;
    const prNumber = "prNumber" in request ? request.prNumber : null;
    const meant = [...ledger.active.values()].filter(
      ({ view, pullRequestUpdatedAtMs }) =>
        view.repository.toLowerCase() === request.repository.toLowerCase() &&
        (prNumber === null || view.prNumber === prNumber) &&
        (pullRequestUpdatedAtMs === null || pullRequestUpdatedAtMs <= updatedAtMs),
    );
    const outcomes = await Promise.all(
      meant.map(async ({ view }) => ({ taskId: view.taskId, said: await cancelOne(view.taskId, reason) })),
    );
    const failed = outcomes.find(({ said }) => !said.ok && said.error.code !== "not_found");
    if (failed && !failed.said.ok) return failed.said;
    return answer({
      cancelled: outcomes.flatMap(({ taskId, said }) => (said.ok && said.value ? [taskId] : [])),
    });
  }

  return cancel;
}
