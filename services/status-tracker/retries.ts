// Answers what concerns tasks that are done again: the list of dead letters, and the retries of one task or of all
// dead letters. A retry's id follows from the task's and a count, so that two who ask at once make one task.
import { createHash } from "node:crypto";
import type { Bus } from "../../shared/bus/connect.ts";
import { factsOfTask } from "../../shared/bus/read.ts";
import { submitTask } from "../../shared/bus/submit.ts";
import type { ApiReply, ApiRequest, DeadLetter } from "../../shared/contracts/api.ts";
import type { DeployRequest } from "../../shared/contracts/deploy-request.ts";
import { type Answer, answer, refuse } from "../../shared/contracts/failure.ts";
import type { TaskView } from "../../shared/contracts/task.ts";
import { isEnd } from "../../shared/lifecycle/table.ts";
import type { Known } from "./known.ts";
import type { Ledger } from "./ledger.ts";
import { recordOf } from "./record.ts";
import { failedAttempts } from "./story.ts";

/** Tasks read from the log, or put on it, at once. */
const AT_ONCE = 10;
/** A page of stories ends early at so many bytes of JSON: a message takes 1 MiB. */
const PAGE_BYTES = 400_000;

type Retries = {
  [Verb in "dead" | "retry" | "retryAll"]: (request: ApiRequest<Verb>) => Promise<Answer<ApiReply<Verb>>>;
};

export function retries(bus: Bus, ledger: Ledger, { find, get, upToDate }: Known): Retries {
  /** The request of an ended task with what makes it a retry, or why there can be none. */
  async function requestAgain(taskId: string): Promise<Answer<DeployRequest>> {
    const found = await find(taskId);
    if (!found.ok) return found;
    if (!isEnd(found.value.lifecycle.state))
      return refuse(
        "conflict",
        `task ${taskId} is ${found.value.view.state}: only an ended task is done again`,
      );
    const first = (await factsOfTask(bus, taskId)).find(
      (fact) => fact.kind === "requested" && fact.body !== null,
    );
    if (first?.kind !== "requested" || first.body === null)
      return refuse("not_found", `the request of task ${taskId} is no longer on the log`);
    const { after, taskId: _, ...request } = first.body;
    // Done again because somebody wants this commit: it neither overtakes a newer task nor is late itself.
    return answer({ ...request, retryOf: taskId, supersede: false });
  }

  /** Submits the first retry that the log does not know; one that has not ended is in the way of another. */
  async function retryOnce(taskId: string): Promise<Answer<{ taskId: string; sequence: number }>> {
    const request = await requestAgain(taskId);
    if (!request.ok) return request;
    for (let count = 1; ; count++) {
      const id = retryId(taskId, count);
      const known = await find(id);
      if (!known.ok && known.error.code !== "not_found") return known;
      if (!known.ok) return submitTask(bus, { ...request.value, taskId: id });
      const { state } = known.value.lifecycle;
      if (!isEnd(state))
        return refuse("conflict", `task ${taskId} is being done again: its retry ${id} is ${state}`);
    }
  }

  async function retry(taskId: string): Promise<Answer<TaskView>> {
    const submitted = await retryOnce(taskId);
    return submitted.ok ? get(submitted.value.taskId, submitted.value.sequence) : submitted;
  }

  async function retryAll(request: ApiRequest<"retryAll">): Promise<Answer<ApiReply<"retryAll">>> {
    const followed = await upToDate();
    if (!followed.ok) return followed;
    const { after, limit, upTo = ledger.sequence } = request;
    const meant = ledger.deadLetters
      .list(request)
      .filter(({ sequence }) => sequence > after && sequence <= upTo);
    const now = meant.slice(0, limit);
    const outcomes = await severally(now, async (letter) => ({
      taskId: letter.taskId,
      said: await retryOnce(letter.taskId),
    }));
    const last = now.at(-1);
    return answer({
      retried: outcomes.flatMap(({ taskId, said }) =>
        said.ok ? [{ taskId: said.value.taskId, retryOf: taskId }] : [],
      ),
      refused: outcomes.flatMap(({ taskId, said }) => (said.ok ? [] : [{ taskId, error: said.error }])),
      next: last !== undefined && meant.length > now.length ? { after: last.sequence, upTo } : null,
    });
  }

  async function dead(request: ApiRequest<"dead">): Promise<Answer<ApiReply<"dead">>> {
    const followed = await upToDate();
    if (!followed.ok) return followed;
    const { cursor = Number.POSITIVE_INFINITY, limit } = request;
    const letters = ledger.deadLetters
      .list(request)
      .filter(({ sequence }) => sequence < cursor)
      .reverse();
    const stories = await severally(letters.slice(0, limit), ({ taskId }) => storyOf(taskId));
    const data: DeadLetter[] = [];
    let told = 0;
    for (let bytes = 0; told < stories.length; told++) {
      const story = stories[told];
      bytes += JSON.stringify(story).length;
      if (bytes > PAGE_BYTES && told > 0) break;
      if (story) data.push(story);
    }
    return answer({
      data,
      nextCursor: letters.length > told ? (letters[told - 1]?.sequence ?? null) : null,
    });
  }

  /** Read from the log, whatever the ledger still holds of it; null if the log no longer has its request. */
  async function storyOf(taskId: string): Promise<DeadLetter | null> {
    const facts = await factsOfTask(bus, taskId);
    const record = recordOf(facts);
    if (record === null || record.view.requestedAt === null) return null;
    return { task: record.view, attempts: failedAttempts(facts) };
  }

  return { dead, retry: ({ taskId }) => retry(taskId), retryAll };
}

const retryId = (taskId: string, count: number): string =>
  `retry-${createHash("sha256").update(`${taskId} ${count}`).digest("hex").slice(0, 40)}`;

/** The outcomes in the order of the items, a few of which are worked on at once. */
async function severally<Item, Outcome>(
  items: Item[],
  work: (item: Item) => Promise<Outcome>,
): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  for (let from = 0; from < items.length; from += AT_ONCE)
    outcomes.push(...(await Promise.all(items.slice(from, from + AT_ONCE).map(work))));
  return outcomes;
}
