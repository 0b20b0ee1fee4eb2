// Chance that can be had again: the same seed gives the same numbers. One stream for each purpose, so that what one
// of them draws does not change the others.

export interface Chance {
  /** From 0 up to 1. */
  next(): number;
  /** From `low` up to `high`. */
  between(low: number, high: number): number;
  pick<Item>(items: readonly [Item, ...Item[]]): Item;
}

export function chance(seed: number, purpose: string): Chance {
  let state = seed | 0;
  for (const byte of Buffer.from(purpose)) state = Math.imul(state ^ byte, 0x01000193);
  // mulberry32, by Tommy Ettinger (public domain).
  const next = () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
  return {
    next,
    between: (low, high) => low + next() * (high - low),
    pick: (items) => items[Math.floor(next() * items.length)] ?? items[0],
  };
}
