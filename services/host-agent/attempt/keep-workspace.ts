// What becomes of a failed attempt's trees where its request wants to look at them: they are kept, and its log says where.
import type { Logger } from "pino";
import type { Bus } from "../../../shared/bus/connect.ts";
import type { Failure } from "../../../shared/contracts/failure.ts";
import type { Work } from "../held/executor.ts";
import type { Redactor } from "../redaction.ts";
import { createLogSink } from "./log-sink.ts";

/**
 * Nothing of the attempt runs any more when this has begun. Of strangers nothing is kept, whatever they ask for. That it
 * cannot be kept changes nothing of how the attempt ends.
 */
export async function keepWorkspace(
  { bus, hostId, redactor, log }: { bus: Bus; hostId: string; redactor: Redactor; log: Logger },
  { attemptKey, order, machine }: Work,
  failure: Failure,
): Promise<void> {
  const { taskId, attempt, request } = order;
  const { repository, sha } = request;
  if (request.keepWorkspace !== true || request.fork === true) return;
  await machine.guest.release(attemptKey);
  const about = { attemptKey, taskId, attempt, repository, sha, failure: failure.message };
  const until = await machine.workspaces.keep?.(about).catch((error: unknown) => {
    log.error({ error, attemptKey }, "an attempt's workspace could not be kept");
    return null;
  });
  await using sink = createLogSink(bus, redactor, { taskId, attempt, hostId });
  sink.phase(
    "collecting",
    until
      ? `its workspace is kept on ${hostId} until ${until}: \`mesh shell ${taskId}\` there enters it`
      : "its workspace is not kept: there is no room for it, it could not be moved, or this host keeps none",
  );
}
