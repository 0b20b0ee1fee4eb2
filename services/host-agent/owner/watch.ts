// What the machine is seen to be doing for its owner, for heartbeats and for the owner's own rules.
import type { OwnerReading } from "../../../shared/contracts/heartbeat.ts";
import { type Gauge, gauge } from "../condition/gauge.ts";
import { POWER_EVERY_MS, readPower } from "./power.ts";
import { PRESENCE_EVERY_MS, readPresence, type Seen } from "./presence.ts";

export interface OwnerWatch extends Disposable {
  latest(): OwnerReading;
  /** Resolves when it is known what can be known, or was not for so long, ms. */
  first(patienceMs: number): Promise<void>;
}

/** Who has not touched the machine for so long is away, ms. */
const AWAY_MS = 300_000;
/** After so many readings that did not come, nothing is known any more. */
const MISSED = 3;

export function watchOwner(): OwnerWatch {
  const since = absenceSince();
  const power = gauge<OwnerReading["power"]>("unknown", readPower, { everyMs: POWER_EVERY_MS });
  const presence = gauge<Presence>(UNKNOWN, async () => since(await readPresence(), performance.now()), {
    everyMs: PRESENCE_EVERY_MS,
  });
  const isFresh = ({ ageMs }: Gauge<unknown>, everyMs: number) => ageMs() < MISSED * everyMs;
  return {
    latest: () => ({
      power: isFresh(power, POWER_EVERY_MS) ? power.latest() : "unknown",
      ...(isFresh(presence, PRESENCE_EVERY_MS) ? presence.latest() : UNKNOWN),
    }),
    async first(patienceMs) {
      await Promise.all([power.first(patienceMs), presence.first(patienceMs)]);
    },
    [Symbol.dispose]() {
      power[Symbol.dispose]();
      presence[Symbol.dispose]();
    },
  };
}

type Presence = Omit<OwnerReading, "power">;
const UNKNOWN: Presence = { presence: "unknown", idleMs: null };

/** Counts for how long nobody has been there where the system does not, from when that was first seen. */
export function absenceSince(): (seen: Seen, nowMs: number) => Presence {
  let awaySinceMs: number | null = null;
  return (seen, nowMs) => {
    awaySinceMs = seen.kind === "away" ? (awaySinceMs ?? nowMs) : null;
    switch (seen.kind) {
      case "unknown":
        return UNKNOWN;
      case "present":
        return { presence: "present", idleMs: 0 };
      case "away":
        return { presence: "away", idleMs: nowMs - (awaySinceMs ?? nowMs) };
      case "idle":
        return { presence: seen.idleMs < AWAY_MS ? "present" : "away", idleMs: seen.idleMs };
    }
  };
}
