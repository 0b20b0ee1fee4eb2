// Each runner's bit, so that a scan of all hosts compares numbers and no names.

/** As many bits as the fast integers of JavaScript have. */
const LAST_BIT = 2 ** 29;

export class RunnerBits {
  readonly #bits = new Map<string, number>();

  /** 0 for one that has none: no host has it, or too many are known. */
  bitOf(runner: string): number {
    return this.#bits.get(runner) ?? 0;
  }

  /** Of all of them together; those that are new are given one, as long as there is any. */
  bitsOf(runners: readonly string[]): number {
    let bits = 0;
    for (const runner of runners) {
      const bit = this.#bits.get(runner) ?? 2 ** this.#bits.size;
      if (bit > LAST_BIT) continue;
      this.#bits.set(runner, bit);
      bits |= bit;
    }
    return bits;
  }
}
