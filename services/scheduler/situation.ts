// What a decision takes into account beside the task and the hosts; the clocks and chance are in it.
import type { PlacementPolicy, PlacementWeights } from "../../shared/config/settings.ts";
import type { Usual } from "../../shared/contracts/outlook.ts";
import type { Work } from "./footprints.ts";

export interface Situation {
  /** The scheduler's monotonic clock, ms. */
  nowMs: number;
  /** The clock of the times on the log, ms since the epoch. */
  brokerNowMs: number;
  /** A host not heard of for so long is offline, ms. */
  silenceMs: number;
  policy: PlacementPolicy;
  weights: PlacementWeights;
  /** Hosts whose breaker lets nothing begin there now. */
  barred: ReadonlySet<string>;
  /** What is known of attempts of some work; null if nothing is. */
  usual(work: Work): Usual | null;
  /** From 0 up to 1. */
  random(): number;
}
