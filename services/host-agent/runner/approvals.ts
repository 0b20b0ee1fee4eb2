// Tools that wait for a person's leave, each for a limited time: whoever is not answered in time is denied.

/** `Asked` is what its runner has to know to answer. */
export class Approvals<Asked extends object> {
  readonly #waiting = new Map<string, { asked: Asked; timer: NodeJS.Timeout }>();

  /** `onTimeout` is called if nobody has taken it by then. */
  wait(id: string, asked: Asked, timeoutMs: number, onTimeout: () => void): void {
    const timer = setTimeout(() => {
      if (this.take(id) !== null) onTimeout();
    }, timeoutMs);
    this.#waiting.set(id, { asked, timer });
  }

  /** What waits under this id, for whoever answers it; null if nothing does any more. */
  take(id: string): Asked | null {
    const waiting = this.#waiting.get(id);
    if (waiting === undefined) return null;
    clearTimeout(waiting.timer);
    this.#waiting.delete(id);
    return waiting.asked;
  }

  has(id: string): boolean {
    return this.#waiting.has(id);
  }

  /** Nobody is to answer any more: what has waited until now. */
  clear(): Asked[] {
    return [...this.#waiting.keys()].flatMap((id) => this.take(id) ?? []);
  }
}
