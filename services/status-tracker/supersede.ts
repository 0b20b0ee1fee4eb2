// Which task of a pull request stands, and which are overtaken: a newer commit cancels the older task, whoever
// submitted it, and a webhook that comes late cancels nothing. Pure: a fold over requests in log order.

export interface PullRequestTask {
  taskId: string;
  repository: string;
  prNumber: number;
  sha: string;
  /** The requester wants older tasks of the pull request cancelled, and stands back itself when it is late. */
  supersede: boolean;
  /** When the forge last changed the pull request, ms; null if the requester did not say. */
  updatedAtMs: number | null;
}

interface Standing {
  newest: PullRequestTask;
  /** Latest change of the pull request that any request named, ms. */
  updatedAtMs: number;
  unfinished: Map<string, PullRequestTask>;
}

/** `taskId` is overtaken by `by`. */
export interface Overtaken {
  taskId: string;
  by: string;
}

/** Pull requests with nothing unfinished are forgotten beyond so many, the longest untouched first. */
export const PULL_REQUESTS_REMEMBERED = 20_000;

export class PullRequests {
  readonly #standing = new Map<string, Standing>();

  /** The next request on the log: whom it overtakes, or by whom it is itself overtaken. */
  requested(task: PullRequestTask): Overtaken[] {
    const key = keyOf(task);
    const standing = this.#standing.get(key);
    this.#standing.delete(key);
    if (standing === undefined) {
      this.#remember(key, {
        newest: task,
        updatedAtMs: task.updatedAtMs ?? Number.NEGATIVE_INFINITY,
        unfinished: new Map([[task.taskId, task]]),
      });
      return [];
    }
    this.#remember(key, standing);
    standing.unfinished.set(task.taskId, task);
    // Late news of an older commit; the newest one may be asked for as often as anybody likes.
    if (task.updatedAtMs !== null && task.updatedAtMs < standing.updatedAtMs)
      return task.supersede && task.sha !== standing.newest.sha
        ? [{ taskId: task.taskId, by: standing.newest.taskId }]
        : [];
    const overtaken = task.supersede
      ? [...standing.unfinished.values()]
          .filter((older) => older.sha !== task.sha)
          .map((older) => ({ taskId: older.taskId, by: task.taskId }))
      : [];
    // Who overtakes nobody and does not say when (an old task done again) tells nothing of what is the newest.
    if (task.supersede || task.updatedAtMs !== null) standing.newest = task;
    standing.updatedAtMs = Math.max(standing.updatedAtMs, task.updatedAtMs ?? Number.NEGATIVE_INFINITY);
    return overtaken;
  }

  ended(task: Pick<PullRequestTask, "taskId" | "repository" | "prNumber">): void {
    this.#standing.get(keyOf(task))?.unfinished.delete(task.taskId);
  }

  #remember(key: string, standing: Standing): void {
    this.#standing.set(key, standing);
    if (this.#standing.size <= PULL_REQUESTS_REMEMBERED) return;
    for (const [oldest, { unfinished }] of this.#standing) {
      if (unfinished.size > 0) continue;
      this.#standing.delete(oldest);
      return;
    }
  }
}

const keyOf = ({ repository, prNumber }: Pick<PullRequestTask, "repository" | "prNumber">): string =>
  `${repository.toLowerCase()}#${prNumber}`;
