// Which tasks are dead letters: failed though retryable, with no attempts left, and done again by nobody. An index
// over the log that outlives what the ledger keeps of ended tasks; their stories stay on the log. Pure.
import type { Fact } from "../../shared/contracts/fact.ts";
import type { FailureCategory } from "../../shared/contracts/failure.ts";

interface Entry {
  taskId: string;
  /** Sequence of the fact that ended it: the order in lists. */
  sequence: number;
  category: FailureCategory;
  repository: string;
}

interface Filter {
  category?: FailureCategory | undefined;
  repository?: string | undefined;
}

/** Beyond so many the oldest are listed no more; each is still on the log, and is done again by its id. */
export const DEAD_LETTERS_KEPT = 100_000;

export class DeadLetters {
  readonly #entries = new Map<string, Entry>();
  readonly #kept: number;

  constructor(kept = DEAD_LETTERS_KEPT) {
    this.#kept = kept;
  }

  /** The next fact that counted, in the order of the log. */
  apply(fact: Fact, repository: string): void {
    const { taskId, sequence } = fact;
    if (fact.kind === "requested" && fact.body.retryOf !== undefined) this.#entries.delete(fact.body.retryOf);
    if (fact.kind !== "failed" || !fact.body.exhausted) return;
    this.#entries.set(taskId, { taskId, sequence, category: fact.body.failure.category, repository });
    if (this.#entries.size <= this.#kept) return;
    const [oldest] = this.#entries.keys();
    if (oldest !== undefined) this.#entries.delete(oldest);
  }

  /** What it asked for is no longer on the log: it cannot be done again. */
  drop(taskId: string): void {
    this.#entries.delete(taskId);
  }

  /** Those that fit, the oldest first. */
  list({ category, repository }: Filter): Entry[] {
    const name = repository?.toLowerCase();
    return [...this.#entries.values()].filter(
      (entry) =>
        (category === undefined || entry.category === category) &&
        (name === undefined || entry.repository.toLowerCase() === name),
    );
  }
}
