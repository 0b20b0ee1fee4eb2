// The protocol, simulated: the product's own core keeps every invariant through thousands of histories, and no rule of
// it can be taken out unnoticed.
import { describe, expect, it } from "vitest";
import { runSeed, shorten, tell } from "../simulation/explore.ts";
import { MUTANTS } from "../simulation/rules.ts";

const RUNS = 2_000;
/** Every mutant has shown itself in a third of these. */
const MUTANT_RUNS = 800;

describe("the protocol", { timeout: 600_000 }, () => {
  it(`keeps its invariants in ${RUNS} histories`, async () => {
    for (let seed = 1; seed <= RUNS; seed++) {
      const found = await runSeed(seed);
      expect(found, `seed ${seed}: npm run simulate:protocol -- --seed ${seed} --runs 1`).toBeNull();
    }
  });

  it.each(Object.entries(MUTANTS))("needs its rules: %s", async (_, mutant) => {
    let found: Awaited<ReturnType<typeof runSeed>> = null;
    for (let seed = 1; seed <= MUTANT_RUNS && found === null; seed++) found = await runSeed(seed, mutant);
    expect(found).not.toBeNull();
  });

  it("makes a history again from its seed, and shortens it to what matters", async () => {
    const mutant = MUTANTS["no freeze"];
    let found: Awaited<ReturnType<typeof runSeed>> = null;
    for (let seed = 1; found === null; seed++) found = await runSeed(seed, mutant);
    expect(await runSeed(found.seed, mutant)).toEqual(found);
    const odd = await shorten(found, mutant);
    expect(odd.size).toBeLessThanOrEqual(found.odd.size);
    const story = await tell(found.seed, odd, mutant);
    expect(story.at(-1)).toContain(`INVARIANT ${found.violation.invariant}`);
  });
});
