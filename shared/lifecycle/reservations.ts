// Amounts that are held for tasks until they are known, and their sums, by repository and in all. Pure.
import { type Amount, add, nothing, repositoryKey } from "./amount.ts";

export class Reservations {
  readonly #held = new Map<string, { repository: string; amount: Amount }>();
  readonly #all = nothing();
  readonly #repositories = new Map<string, Amount & { tasks: number }>();

  add(taskId: string, repository: string, amount: Amount): void {
    this.remove(taskId);
    const key = repositoryKey(repository);
    this.#held.set(taskId, { repository: key, amount });
    add(this.#all, amount, 1);
    const of = this.#repositories.get(key) ?? { ...nothing(), tasks: 0 };
    add(of, amount, 1);
    of.tasks++;
    this.#repositories.set(key, of);
  }

  /** What was held for the task; null if nothing was. */
  remove(taskId: string): Amount | null {
    const held = this.#held.get(taskId);
    if (held === undefined) return null;
    const { repository, amount } = held;
    this.#held.delete(taskId);
    add(this.#all, amount, -1);
    const of = this.#repositories.get(repository);
    if (of !== undefined) {
      add(of, amount, -1);
      if (--of.tasks === 0) this.#repositories.delete(repository);
    }
    return amount;
  }

  of(taskId: string): Amount | null {
    return this.#held.get(taskId)?.amount ?? null;
  }

  /** Of all repositories for null. */
  sum(repository: string | null): Amount {
    return repository === null ? this.#all : (this.#repositories.get(repositoryKey(repository)) ?? nothing());
  }
}
