// The tasks of a drill: on a tiny repository, with commands that write down on their output that they act. They are
// its own, and it ends them all; it must never leave one queued.

import type { Bus } from "../../../shared/bus/connect.ts";
import { storedMessages } from "../../../shared/bus/read.ts";
import { LOGS } from "../../../shared/bus/streams.ts";
import { submitTask } from "../../../shared/bus/submit.ts";
import type { DeployRequest } from "../../../shared/contracts/deploy-request.ts";
import { LogChunk, logSubject } from "../../../shared/contracts/log.ts";
import type { Act } from "./judgement.ts";

/** `steady`: its first attempt acts until it is ended, any other for two seconds. */
export type DrillKind = "steady" | "short" | "fails";

export interface DrillSource {
  cloneUrl: string;
  branch: string;
  sha: string;
}

const ACT_S = 0.2;
const TIMEOUT_MS = 3_600_000;

export const drillRequest = (
  taskId: string,
  kind: DrillKind,
  { cloneUrl, branch, sha }: DrillSource,
  labels: Record<string, string>,
): DeployRequest => ({
  type: "pr_deployment",
  taskId,
  repository: "mesh/drill",
  cloneUrl,
  branch,
  sha,
  labels,
  priority: "high",
  supersede: false,
  resources: { memoryBytes: 16_000_000, cpus: 0.1 },
  timeoutMs: TIMEOUT_MS,
  run: { command: commandOf(kind) },
});

const commandOf = (kind: DrillKind): string =>
  [
    'act() { echo "witness $MESH_TASK_ID $MESH_ATTEMPT $MESH_HOST_ID $(date +%s%3N)"; }',
    `times=${kind === "steady" ? 10 : 2}`,
    kind === "steady" ? `[ "$MESH_ATTEMPT" = 1 ] && times=${TIMEOUT_MS / 1_000 / ACT_S}` : ":",
    `n=0; while [ $n -lt $times ]; do act; sleep ${ACT_S}; n=$((n+1)); done`,
    kind === "fails" ? "exit 3" : "exit 0",
  ].join("\n");

/** The same request again, until the log has it: the bus may be what is away. */
export async function submitUntilTaken(bus: Bus, request: DeployRequest, signal: AbortSignal): Promise<void> {
  for (;;) {
    signal.throwIfAborted();
    const submitted = await submitTask(bus, request);
    if (submitted.ok) return;
    if (submitted.error.code !== "unavailable") throw new Error(submitted.error.message);
  }
}

/** What the commands of one task have written so far. */
export async function actsOf(bus: Bus, taskId: string): Promise<Act[]> {
  const acts: Act[] = [];
  const begun = new Map<string, string>();
  for await (const { subject, payload, timeMs } of storedMessages(
    bus,
    LOGS,
    logSubject.wildcard({ taskId }),
  )) {
    const chunk = LogChunk.safeParse(JSON.parse(Buffer.from(payload).toString()));
    if (!chunk.success || chunk.data.source !== "stdout") continue;
    // A chunk may be cut anywhere.
    const lines = ((begun.get(subject) ?? "") + chunk.data.text).split("\n");
    begun.set(subject, lines.pop() ?? "");
    for (const line of lines) {
      const words = /^witness (\S+) (\d+) (\S+) (\d+)$/.exec(line);
      if (words === null) continue;
      const [, , attempt, hostId = "", atMs] = words;
      acts.push({ taskId, attempt: Number(attempt), hostId, atMs: Number(atMs), storedMs: timeMs });
    }
  }
  return acts;
}
