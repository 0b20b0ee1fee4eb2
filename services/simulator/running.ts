// An attempt that runs on a simulated host, and the memory that it has come to use. Pure.
import type { countedOf } from "../host-agent/held/admission.ts";

/** An attempt reaches the memory it uses after so long, in a straight line, ms. */
export const MEMORY_RAMP_MS = 45_000;

export interface Running {
  task: number;
  beganMs: number;
  /** What its host counts for it, by the host agent's own rule. */
  counted: ReturnType<typeof countedOf>;
  usedBytes: number;
  usedCpus: number;
  /** Ends once the host has done so much work, ms. */
  endsAtWorkMs: number;
}

export const usedNow = (one: Running, nowMs: number): number =>
  one.usedBytes * Math.min(1, Math.max(0, nowMs - one.beganMs) / MEMORY_RAMP_MS);
