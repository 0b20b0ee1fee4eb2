// The only way in which facts leave the log: those of one ended task that lie before the end that counted.
import { JetStreamApiError, type JetStreamManager, jetstreamManager } from "@nats-io/jetstream";
import { decodeFact, type Fact, taskSubjects } from "../contracts/fact.ts";
import { foldAll } from "../lifecycle/fold.ts";
import { isEnd } from "../lifecycle/table.ts";
import type { Bus } from "./connect.ts";
import { TASKS } from "./streams.ts";

const NO_MESSAGE = 10037;

/**
 * The end itself stays, so a known id stays known and no end ever changes. The latest goes first: a purge that breaks
 * off leaves the beginning of the story and its end, which is read as the whole was. False: left as it is, because not
 * every message of it can be decoded and names the one before, or its end is not the last.
 */
export async function purgeBeforeEnd(bus: Bus, taskId: string): Promise<boolean> {
  const manager = await jetstreamManager(bus.connection, { checkAPI: false });
  const story = await latestFirst(manager, taskId);
  if (story === null || !endsWithItsEnd(story)) return false;
  const { state } = await manager.streams.info(TASKS, { subjects_filter: taskSubjects(taskId) });
  const stored = Object.values(state.subjects ?? {}).reduce((sum, count) => sum + count, 0);
  // Somebody spoke without the guard.
  if (stored !== story.length) return false;
  for (const { sequence } of story.slice(1)) await manager.streams.deleteMessage(TASKS, sequence, false);
  return true;
}

/** From the last message on back to the first, each as the one after it names it: a reader of all would cost 20 ms. */
async function latestFirst(manager: JetStreamManager, taskId: string): Promise<Fact[] | null> {
  const story: Fact[] = [];
  let query: { last_by_subj: string } | { seq: number } = { last_by_subj: taskSubjects(taskId) };
  for (;;) {
    const message = await manager.streams.getMessage(TASKS, query).catch((error: unknown) => {
      if (error instanceof JetStreamApiError && error.code === NO_MESSAGE) return null;
      throw error;
    });
    if (message === null) return null;
    const fact = decodeFact(message.subject, message.data, message.seq, message.time.getTime());
    if (fact === null || fact.body === null || fact.taskId !== taskId) return null;
    story.push(fact);
    const { after } = fact.body;
    if (after === 0) return story;
    if (after >= fact.sequence) return null;
    query = { seq: after };
  }
}

function endsWithItsEnd([last, ...before]: Fact[]): boolean {
  const begun = foldAll(before.reverse());
  return last !== undefined && !isEnd(begun.state) && isEnd(foldAll([...before, last]).state);
}
