// What chance decides in a run. 0 always means that nothing odd happens, so a run is the list of its odd choices: it
// can be made again from that list, and made shorter by leaving some out.

export interface Choices {
  /** Which of `options` happens to `entity`; other than 0 with this probability. */
  choose(atMs: number, label: string, entity: string, options: number, probability: number): number;
}

export type Oddities = Map<string, number>;

/** Chosen by a hash of where and when, so that one choice does not depend on how many came before it. */
export function seededChoices(seed: number, rate: number): Choices & { odd: Oddities } {
  const odd: Oddities = new Map();
  const keyOf = keys();
  return {
    odd,
    choose(atMs, label, entity, options, probability) {
      const key = keyOf(atMs, label, entity);
      const hashed = hash(seed, key);
      if ((hashed & 0xffff) / 0x10000 >= probability * rate) return 0;
      const chosen = options > 1 ? 1 + ((hashed >>> 16) % (options - 1)) : 0;
      if (chosen !== 0) odd.set(key, chosen);
      return chosen;
    },
  };
}

export function scriptedChoices(script: Oddities): Choices {
  const keyOf = keys();
  return {
    choose: (atMs, label, entity, options) =>
      Math.min(script.get(keyOf(atMs, label, entity)) ?? 0, options - 1),
  };
}

function keys(): (atMs: number, label: string, entity: string) => string {
  let lastMs = -1;
  const counts = new Map<string, number>();
  return (atMs, label, entity) => {
    if (atMs !== lastMs) counts.clear();
    lastMs = atMs;
    const key = `${Math.round(atMs)} ${label} ${entity}`;
    const count = counts.get(key) ?? 0;
    counts.set(key, count + 1);
    return `${key} ${count}`;
  };
}

/** FNV-1a, then murmur3's finaliser. */
function hash(seed: number, text: string): number {
  let state = 0x811c9dc5 ^ seed;
  for (let at = 0; at < text.length; at++) state = Math.imul(state ^ text.charCodeAt(at), 0x01000193);
  state = Math.imul(state ^ (state >>> 16), 0x85ebca6b);
  state = Math.imul(state ^ (state >>> 13), 0xc2b2ae35);
  return (state ^ (state >>> 16)) >>> 0;
}
