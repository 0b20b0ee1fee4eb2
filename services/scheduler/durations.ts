// How long attempts of each repository took lately, for whoever asks when a host will be free. Pure.

/** Attempts of each repository that are remembered. */
const REMEMBERED = 15;
/** Repositories; the one that has been known longest is forgotten. */
export const REPOSITORIES_REMEMBERED = 10_000;

export class Durations {
  readonly #latest = new Map<string, number[]>();

  add(repository: string, durationMs: number): void {
    const latest = [...(this.#latest.get(repository) ?? []), durationMs].slice(-REMEMBERED);
    this.#latest.set(repository, latest);
    const [oldest] = this.#latest.keys();
    if (this.#latest.size > REPOSITORIES_REMEMBERED && oldest !== undefined) this.#latest.delete(oldest);
  }

  /** The median, ms; null if none is known. */
  typicalMs(repository: string): number | null {
    const sorted = this.#latest.get(repository)?.toSorted((one, other) => one - other);
    return sorted?.[Math.floor(sorted.length / 2)] ?? null;
  }
}
