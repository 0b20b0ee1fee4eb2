// Whether this machine may begin work now, by what its owner has said and what it is seen to be doing. Pure. What nobody
// can tell counts against the mesh: a rule that asks for it does not hold.

import type { Condition, When } from "../../../shared/config/when.ts";
import type { OwnerReading, Withheld } from "../../../shared/contracts/heartbeat.ts";
import { isWithin, nextChange, type OffsetAt } from "./hours.ts";
import type { Pause } from "./pause.ts";

interface Unmet {
  words: string;
  /** Ms since the epoch; null where the clock alone does not tell. */
  untilMs: number | null;
}

/** Null if it may. */
export function whyWithheld(
  when: When,
  pause: Pause | null,
  reading: OwnerReading,
  nowMs: number,
  offsetAt: OffsetAt,
): Withheld | null {
  if (pause !== null && (pause.untilMs === null || nowMs < pause.untilMs)) {
    const until = instant(pause.untilMs);
    return { why: `its owner has paused it${until === null ? "" : ` until ${until}`}`, until };
  }
  const alternatives = when.map((conditions) =>
    conditions.flatMap((condition) => unmet(condition, reading, nowMs, offsetAt) ?? []),
  );
  if (alternatives.some((found) => found.length === 0)) return null;
  const words = new Set(alternatives.flat().map((found) => found.words));
  return { why: [...words].join(", and "), until: instant(soonest(alternatives)) };
}

function unmet(
  condition: Condition,
  { power, presence, idleMs }: OwnerReading,
  nowMs: number,
  offsetAt: OffsetAt,
): Unmet | null {
  switch (condition.kind) {
    case "hours": {
      if (isWithin(condition, nowMs, offsetAt)) return null;
      const untilMs = nextChange(condition, nowMs, offsetAt);
      return { words: `it is not within ${condition.words}`, untilMs };
    }
    case "ac": {
      if (power === "ac") return null;
      const words = power === "battery" ? "it runs on battery" : "nobody can tell whether it runs on battery";
      return { words, untilMs: null };
    }
    case "idle": {
      if (presence === "unknown" || idleMs === null)
        return { words: "nobody can tell whether its owner is using it", untilMs: null };
      if (idleMs >= condition.ms) return null;
      const minutes = Math.floor(idleMs / 60_000);
      const words = `its owner is using it (idle for ${minutes} of ${condition.ms / 60_000} min)`;
      return { words, untilMs: null };
    }
  }
}

/** When the first alternative that only waits for the clock holds; null if there is none. */
function soonest(alternatives: Unmet[][]): number | null {
  let soonestMs: number | null = null;
  for (const found of alternatives) {
    const times = found.map(({ untilMs }) => untilMs);
    if (times.includes(null)) continue;
    const ms = Math.max(...times.filter((time) => time !== null));
    if (soonestMs === null || ms < soonestMs) soonestMs = ms;
  }
  return soonestMs;
}

const instant = (ms: number | null): string | null => (ms === null ? null : new Date(ms).toISOString());
