// All tasks of the log, folded as its messages come: what every reader keeps. Ended tasks leave it, but for
// their ids, so that a request said again under a known id is no new task.
import type { Fact, Malformed } from "../contracts/fact.ts";
import { fold } from "./fold.ts";
import { isEnd, type Lifecycle, UNKNOWN } from "./table.ts";
import { Unfinished } from "./unfinished.ts";

export interface FoldedFact {
  fact: Fact | Malformed;
  before: Lifecycle;
  after: Lifecycle;
  /** False for what does not fit. */
  counted: boolean;
}
export type OnFolded = (folded: FoldedFact) => void;

export class FoldedLog {
  /** Every task that has not ended. */
  readonly tasks = new Unfinished();
  readonly #ended = new Set<string>();
  readonly #onFolded: OnFolded;
  #sequence = 0;
  #ignored = 0;

  constructor(onFolded: OnFolded) {
    this.#onFolded = onFolded;
  }

  /** Sequence of the last message seen. */
  get sequence(): number {
    return this.#sequence;
  }

  /** Messages that did not fit. */
  get ignored(): number {
    return this.#ignored;
  }

  hasEnded(taskId: string): boolean {
    return this.#ended.has(taskId);
  }

  apply(fact: Fact | Malformed): void {
    if (fact.sequence <= this.#sequence) return;
    this.#sequence = fact.sequence;
    if (this.#ended.has(fact.taskId)) {
      this.#ignored++;
      return;
    }
    const before = this.tasks.get(fact.taskId) ?? UNKNOWN;
    const { task: after, counted } = fold(before, fact);
    if (!counted) this.#ignored++;
    if (isEnd(after.state)) {
      this.tasks.delete(fact.taskId);
      this.#ended.add(fact.taskId);
    } else this.tasks.set(fact.taskId, after);
    this.#onFolded({ fact, before, after, counted });
  }
}
