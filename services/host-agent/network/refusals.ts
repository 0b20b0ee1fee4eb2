// What was refused to an instance's programs, as its task's log is told it: each place with what would allow it, often
// or from many places only as a number.

/** So often the same place is told. */
const TIMES_MAX = 3;
/** So many places are told. */
const PLACES_MAX = 50;

export class Refusals {
  readonly #tell: (words: string) => void;
  readonly #times = new Map<string, number>();
  #untold = 0;

  constructor(tell: (words: string) => void) {
    this.#tell = tell;
  }

  add(place: string, why: string): void {
    const times = this.#times.get(place) ?? 0;
    if (times >= TIMES_MAX || (times === 0 && this.#times.size >= PLACES_MAX)) {
      this.#untold++;
      return;
    }
    this.#times.set(place, times + 1);
    this.#tell(`network: ${place} was refused: ${why}`);
  }

  /** Tells how many more there were. */
  end(): void {
    if (this.#untold > 0) this.#tell(`network: refused ${this.#untold} times more, to these or other places`);
    this.#untold = 0;
  }
}
