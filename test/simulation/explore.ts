// Many runs, and what to make of one that breaks an invariant: it is made again from its odd choices, shortened by
// leaving out what does not matter, and told.
import { type Oddities, scriptedChoices, seededChoices } from "./choices.ts";
import { type Mutant, RULES_AS_DESIGNED } from "./rules.ts";
import { type Shape, simulate, type Violation } from "./world.ts";

const RATES = [0.3, 0.7, 1.2, 2] as const;

/** From the seed alone, so that a seed says everything. */
function shapeOf(seed: number): Shape {
  return {
    hosts: 2 + (seed % 2),
    tasks: 1 + ((seed >>> 1) % 3),
    slots: 1 + ((seed >>> 3) % 2),
    maxAttempts: (seed >>> 6) % 4 === 0 ? 2 : 50,
  };
}

const rulesOf = (mutant?: Mutant) => ({ ...RULES_AS_DESIGNED, ...mutant?.rules });

export interface Found {
  seed: number;
  violation: Violation;
  odd: Oddities;
}

export async function runSeed(seed: number, mutant?: Mutant): Promise<Found | null> {
  const choices = seededChoices(seed, RATES[(seed >>> 4) % 4] ?? 1);
  const { violation } = await simulate(choices, rulesOf(mutant), shapeOf(seed), {
    often: mutant?.often ?? [],
  });
  return violation === null ? null : { seed, violation, odd: choices.odd };
}

/** The shortest list of odd choices that was found to break the same invariant: ddmin, by Zeller. */
export async function shorten({ seed, violation, odd }: Found, mutant?: Mutant): Promise<Oddities> {
  const breaks = async (script: Oddities) => {
    const run = await simulate(scriptedChoices(script), rulesOf(mutant), shapeOf(seed));
    return run.violation?.invariant === violation.invariant;
  };
  let shortest = new Map(odd);
  for (let parts = 2; shortest.size > 1; ) {
    const keys = [...shortest.keys()];
    const size = Math.max(1, Math.floor(keys.length / parts));
    let found = false;
    for (let at = 0; at < keys.length; at += size) {
      const left = new Map(shortest);
      for (const key of keys.slice(at, at + size)) left.delete(key);
      if (!(await breaks(left))) continue;
      shortest = left;
      parts = Math.max(parts - 1, 2);
      found = true;
      break;
    }
    if (found) continue;
    if (size === 1) break;
    parts = Math.min(keys.length, parts * 2);
  }
  return shortest;
}

export async function tell(seed: number, odd: Oddities, mutant?: Mutant): Promise<string[]> {
  return (await simulate(scriptedChoices(odd), rulesOf(mutant), shapeOf(seed), { tell: true })).story;
}
