// Which of its attempts a machine hands back to the mesh because its owner needs it. Pure.

interface Situation {
  /** Attempts at work. */
  atWork: number;
  /** For how long the owner has let nothing begin, ms; null while it may. */
  withheldForMs: number | null;
  /** The owner wants the machine at once. */
  atOnce: boolean;
  /** For how long less memory was free than the owner keeps, ms, and since an attempt was last handed back for it. */
  lackingForMs: number | null;
}

/** Memory that somebody needs for a moment only costs nobody's work, ms; what an attempt held is free by then too. */
const LACKING_MS = 20_000;

/** The youngest so many, which lose the least. `graceMs` null: what runs may finish. */
export function toHandBack(
  { atWork, withheldForMs, atOnce, lackingForMs }: Situation,
  graceMs: number | null,
): { count: number; because: "withheld" | "memory" } | null {
  if (atWork === 0) return null;
  if (withheldForMs !== null && (atOnce || (graceMs !== null && withheldForMs >= graceMs)))
    return { count: atWork, because: "withheld" };
  if (lackingForMs !== null && lackingForMs >= LACKING_MS) return { count: 1, because: "memory" };
  return null;
}
