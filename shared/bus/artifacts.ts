// Streams what an attempt left behind, checked against the manifest: the last chunk leaves only when size and
// SHA-256 are right, so a client never holds a whole artifact that is not what the manifest says.
import { createHash } from "node:crypto";
import { artifactSubject } from "../contracts/artifact.ts";
import type { ArtifactEntry } from "../contracts/attempt-result.ts";
import { type Answer, answer, refuse } from "../contracts/failure.ts";
import type { TaskView } from "../contracts/task.ts";
import type { Bus } from "./connect.ts";
import { factsOfTask, type StoredMessage, storedMessages } from "./read.ts";
import { ARTIFACTS } from "./streams.ts";

/** Thrown in the middle of a download, before its end. */
export class DamagedArtifact extends Error {}

/** Chunks held in memory for one download: 2 MiB. */
const AHEAD = 4;

/** The entry of this name in a task's manifest. */
export function artifactOf(task: TaskView, name: string): Answer<ArtifactEntry> {
  const entry = task.result?.artifacts.find((candidate) => candidate.name === name);
  return entry === undefined
    ? refuse("not_found", `task ${task.taskId} has no such artifact`)
    : answer(entry);
}

/** The artifact's bytes; refused when nothing is kept any more, or the very first chunk shows the damage. */
export async function artifactBytes(
  bus: Bus,
  task: TaskView,
  entry: ArtifactEntry,
): Promise<Answer<AsyncIterable<Uint8Array>>> {
  const { attempt, hostId } = await attemptOf(bus, task, entry);
  if (hostId === null) return refuse("not_found", `no attempt left artifact ${entry.name}`);
  return bytesOf(bus, { taskId: task.taskId, attempt, hostId }, entry);
}

/** The same of a known attempt. */
export async function bytesOf(
  bus: Bus,
  { taskId, attempt, hostId }: { taskId: string; attempt: number; hostId: string },
  entry: ArtifactEntry,
): Promise<Answer<AsyncIterable<Uint8Array>>> {
  const subject = artifactSubject.build({ taskId, attempt: String(attempt), hostId, name: entry.name });
  const bytes = verified(storedMessages(bus, ARTIFACTS, subject, AHEAD), entry);
  try {
    const first = await bytes.next();
    if (!first.done) return answer(startingWith(first.value, bytes));
    return entry.size === 0
      ? answer(empty())
      : refuse("not_found", `artifact ${entry.name} is no longer kept`);
  } catch (error) {
    if (error instanceof DamagedArtifact) return refuse("internal", error.message);
    throw error;
  }
}

/** Which attempt's result holds it. The view names only the latest attempt, which may have begun since. */
async function attemptOf(bus: Bus, task: TaskView, entry: ArtifactEntry) {
  for (const fact of (await factsOfTask(bus, task.taskId)).reverse()) {
    if (fact.body === null || (fact.kind !== "succeeded" && fact.kind !== "faulted")) continue;
    const holds = fact.body.result?.artifacts.some(
      ({ name, sha256 }) => name === entry.name && sha256 === entry.sha256,
    );
    if (holds) return { attempt: fact.body.attempt, hostId: fact.speaker };
  }
  return { attempt: task.attempt, hostId: task.hostId };
}

async function* verified(
  chunks: AsyncIterable<StoredMessage>,
  entry: ArtifactEntry,
): AsyncGenerator<Uint8Array, void> {
  const hash = createHash("sha256");
  let size = 0;
  let held: Uint8Array | null = null;
  for await (const { payload } of chunks) {
    size += payload.length;
    hash.update(payload);
    if (held !== null) yield held;
    held = payload;
    if (size >= entry.size) break;
  }
  if (held === null && entry.size > 0) return;
  if (size !== entry.size || hash.digest("hex") !== entry.sha256)
    throw new DamagedArtifact(`what is kept of artifact ${entry.name} is not what its manifest says`);
  if (held !== null) yield held;
}

async function* startingWith(first: Uint8Array, rest: AsyncIterable<Uint8Array>) {
  yield first;
  yield* rest;
}

async function* empty(): AsyncGenerator<Uint8Array> {}
