// Which of the feasible hosts is the best: the one with the most room left once the task runs there. Pure.

import { effectiveFreeBytes, type PlacementTimes } from "./feasible.ts";
import type { FleetHost } from "./fleet.ts";
import type { Footprint } from "./queue.ts";

const WEIGHTS = { memory: 0.6, cpu: 0.3, slots: 0.1 };

/** Terms between 0 and 1, higher is better; `total` is their weighted sum. */
export interface Score extends Record<string, number> {
  memory: number;
  cpu: number;
  slots: number;
  total: number;
}

export function score(footprint: Footprint, host: FleetHost, nowMs: number, times: PlacementTimes): Score {
  const { heartbeat, reservations } = host;
  let cpus = footprint.cpus;
  for (const reservation of reservations.values()) cpus += reservation.cpus;
  const memory =
    (effectiveFreeBytes(host, nowMs, times) - footprint.memoryBytes) / heartbeat.memory.totalBytes;
  const cpu = Math.max(0, Math.min(1 - heartbeat.cpu.busy, 1 - cpus / heartbeat.cpu.cores));
  const slots = 1 - (reservations.size + 1) / heartbeat.slots.total;
  return {
    memory,
    cpu,
    slots,
    total: WEIGHTS.memory * memory + WEIGHTS.cpu * cpu + WEIGHTS.slots * slots,
  };
}
