// Whether what an attempt has in the guest may run. Pure: the stretch of lease that holds and the time are arguments.
// What one stretch has let run, no later one lets go on: only a thaw, which the log has allowed, does.

export class Permission {
  /** The stretch of lease under which it was last let run. */
  #stretch: string | null = null;
  #frozenSinceMs: number | null = null;

  get frozen(): boolean {
    return this.#frozenSinceMs !== null;
  }

  frozenForMs(nowMs: number): number {
    return this.#frozenSinceMs === null ? 0 : nowMs - this.#frozenSinceMs;
  }

  /** A process asks to begin under a stretch: it may if that is the one that holds now (null: none does). */
  begin(asked: string, holds: string | null): boolean {
    if (this.frozen || asked !== holds) return false;
    this.#stretch = holds;
    return true;
  }

  /**
   * What runs has to be frozen, for it was let run under another stretch than the one that holds now. A lease that
   * has lapsed and come back between two looks is a new stretch, and no permission for what ran before.
   */
  hasLapsed(holds: string | null): boolean {
    return !this.frozen && (holds === null || holds !== this.#stretch);
  }

  freeze(nowMs: number): void {
    this.#frozenSinceMs ??= nowMs;
  }

  /** The log has allowed it under this stretch, which holds now. */
  thaw(stretch: string): void {
    this.#stretch = stretch;
    this.#frozenSinceMs = null;
  }
}
