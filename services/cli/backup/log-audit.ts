// Reads the whole log as any reader would and tells what it comes to, so that a copy of it can be held against the
// original: what the tasks are, a digest of that, and what a result names that is not there.
import { createHash } from "node:crypto";
import type { Bus } from "../../../shared/bus/connect.ts";
import { storedMessages } from "../../../shared/bus/read.ts";
import { contentOf } from "../../../shared/bus/snapshot.ts";
import { ARTIFACTS, TASKS } from "../../../shared/bus/streams.ts";
import { artifactSubject } from "../../../shared/contracts/artifact.ts";
import { decodeFact, taskSubjects } from "../../../shared/contracts/fact.ts";
import { type FoldedFact, FoldedLog } from "../../../shared/lifecycle/folded-log.ts";
import { isEnd, type Lifecycle } from "../../../shared/lifecycle/table.ts";

export interface LogAudit {
  /** Sequence of the last message read. */
  sequence: number;
  facts: number;
  tasks: number;
  unfinished: number;
  succeeded: number;
  failed: number;
  cancelled: number;
  /** SHA-256 over what became of every task: what a purge takes away, which comes before ends, is not in it. */
  digest: string;
  artifacts: { kept: number; agedOut: number; missing: string[] };
}

/** Up to a sequence. What is too old for the stream of artifacts has aged out; what is younger must be there. */
export async function auditLog(bus: Bus, upTo: number): Promise<LogAudit> {
  const stored = await contentOf(bus, ARTIFACTS, artifactSubject.wildcard());
  const digest = createHash("sha256");
  const ends = { succeeded: 0, failed: 0, cancelled: 0 };
  const artifacts: LogAudit["artifacts"] = { kept: 0, agedOut: 0, missing: [] };
  const startedMs = new Map<string, number>();
  let facts = 0;
  let known = 0;

  const onFolded = ({ fact, before, after, counted }: FoldedFact) => {
    facts++;
    if (!counted || fact.body === null) return;
    if (before.state === "unknown") known++;
    if (fact.kind === "started") startedMs.set(fact.taskId, fact.timeMs);
    if ((fact.kind === "succeeded" || fact.kind === "faulted") && fact.body.result)
      for (const { name, chunks } of fact.body.result.artifacts) {
        const { taskId, speaker: hostId } = fact;
        const attempt = String(fact.body.attempt);
        const subject = artifactSubject.build({ taskId, attempt, hostId, name });
        if ((stored.messages.get(subject) ?? 0) >= chunks) artifacts.kept++;
        else if ((startedMs.get(taskId) ?? 0) < stored.oldestMs) artifacts.agedOut++;
        else artifacts.missing.push(subject);
      }
    if (isEnd(after.state)) {
      ends[after.state as keyof typeof ends]++;
      digest.update(inOneLine(fact.taskId, after));
      startedMs.delete(fact.taskId);
    }
  };

  const log = new FoldedLog(onFolded);
  for await (const { subject, payload, sequence, timeMs } of storedMessages(bus, TASKS, taskSubjects("*"))) {
    if (sequence > upTo) break;
    const fact = decodeFact(subject, payload, sequence, timeMs);
    if (fact !== null) log.apply(fact);
  }
  for (const [taskId, task] of log.tasks) digest.update(inOneLine(taskId, task));
  return {
    sequence: log.sequence,
    facts,
    tasks: known,
    unfinished: log.tasks.size,
    ...ends,
    digest: digest.digest("hex"),
    artifacts,
  };
}

const inOneLine = (taskId: string, { state, attempt, hostId, nonce }: Lifecycle): string =>
  `${taskId} ${state} ${attempt} ${hostId} ${nonce}\n`;
