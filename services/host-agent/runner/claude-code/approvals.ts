// Tools that wait for a person's leave, each for a limited time: whoever is not answered in time is denied.

interface Asked {
  tool: string;
  input: unknown;
}

export class Approvals {
  readonly #waiting = new Map<string, Asked & { timer: NodeJS.Timeout }>();

  /** `onTimeout` is called if nobody has taken it by then. */
  wait(id: string, asked: Asked, timeoutMs: number, onTimeout: () => void): void {
    const timer = setTimeout(() => {
      if (this.take(id) !== null) onTimeout();
    }, timeoutMs);
    this.#waiting.set(id, { ...asked, timer });
  }

  /** What waits under this id, for whoever answers it; null if nothing does any more. */
  take(id: string): Asked | null {
    const asked = this.#waiting.get(id);
    if (asked === undefined) return null;
    clearTimeout(asked.timer);
    this.#waiting.delete(id);
    return asked;
  }

  /** Nobody is to answer any more. */
  clear(): void {
    for (const id of this.#waiting.keys()) this.take(id);
  }
}
