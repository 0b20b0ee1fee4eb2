// The machines of a simulated run: drawn by chance, or as somebody wrote them. Pure.
import { type Chance, chance } from "./chance.ts";

/** Shares are of the machine's memory and cores, between 0 and 1. */
export interface Machine {
  memoryBytes: number;
  cores: number;
  slots: number;
  /** What its owner uses on average. */
  owner: { memoryShare: number; cpuShare: number };
}

/** Memory of the drawn machines and how many in a hundred have it; a core for every 2 to 4 GB, a slot for every 2. */
const KINDS = [
  { share: 0.3, memoryBytes: 8e9, cores: 4 },
  { share: 0.35, memoryBytes: 16e9, cores: 8 },
  { share: 0.25, memoryBytes: 32e9, cores: 12 },
  { share: 0.1, memoryBytes: 64e9, cores: 16 },
] as const;
const SLOT_BYTES = 2e9;

export const OWNER = {
  memory: { low: 0.1, high: 0.3 },
  cpu: { low: 0, high: 0.4 },
  /** The owner does something else every so often, on average, ms; memory then differs so much from the average. */
  changeMs: 600_000,
  swing: 0.05,
} as const;

export function drawMachines(seed: number, count: number): Machine[] {
  const drawn = chance(seed, "machines");
  return Array.from({ length: count }, () => {
    let rest = drawn.next();
    const kind = KINDS.find(({ share }) => (rest -= share) < 0) ?? KINDS[0];
    return withOwner(kind.memoryBytes, kind.cores, slotsOf(kind.memoryBytes), drawn);
  });
}

/** `8x16GB,2x64GB:24`: so many machines of this memory, and of so many cores (if not said, one for every 2 GB). */
export function machinesOf(
  sizes: { count: number; memoryBytes: number; cores: number | null }[],
  seed: number,
): Machine[] {
  const drawn = chance(seed, "machines");
  return sizes.flatMap(({ count, memoryBytes, cores }) =>
    Array.from({ length: count }, () => {
      const slots = slotsOf(memoryBytes);
      return withOwner(memoryBytes, cores ?? slots, slots, drawn);
    }),
  );
}

const slotsOf = (memoryBytes: number): number => Math.max(1, Math.floor(memoryBytes / SLOT_BYTES));

const withOwner = (memoryBytes: number, cores: number, slots: number, drawn: Chance): Machine => ({
  memoryBytes,
  cores,
  slots,
  owner: {
    memoryShare: drawn.between(OWNER.memory.low, OWNER.memory.high),
    cpuShare: drawn.between(OWNER.cpu.low, OWNER.cpu.high),
  },
});

/** What the owners leave, on average. */
export function meanCapacity(machines: Machine[]): { memoryBytes: number; cpus: number; slots: number } {
  const total = { memoryBytes: 0, cpus: 0, slots: 0 };
  for (const { memoryBytes, cores, slots, owner } of machines) {
    total.memoryBytes += memoryBytes * (1 - owner.memoryShare);
    total.cpus += cores * (1 - owner.cpuShare);
    total.slots += slots;
  }
  return total;
}
