// The tasks that have not ended, by their ids. Of one of which nothing was said but its request, as of most where many
// are queued, it keeps a number only.
import { type Lifecycle, UNKNOWN } from "./table.ts";

export class Unfinished {
  readonly #tasks = new Map<string, Lifecycle | number>();

  get size(): number {
    return this.#tasks.size;
  }

  get(taskId: string): Lifecycle | undefined {
    const kept = this.#tasks.get(taskId);
    return typeof kept === "number" ? requested(kept) : kept;
  }

  set(taskId: string, task: Lifecycle): void {
    this.#tasks.set(taskId, isOnlyRequested(task) ? task.lastSequence : task);
  }

  delete(taskId: string): void {
    this.#tasks.delete(taskId);
  }

  *[Symbol.iterator](): Generator<[string, Lifecycle]> {
    for (const [taskId, kept] of this.#tasks)
      yield [taskId, typeof kept === "number" ? requested(kept) : kept];
  }
}

const requested = (lastSequence: number): Lifecycle => ({ ...UNKNOWN, state: "queued", lastSequence });

const isOnlyRequested = ({ state, attempt, failures }: Lifecycle): boolean =>
  state === "queued" && attempt === 0 && failures === 0;
