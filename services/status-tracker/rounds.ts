// Work that is done again and again on the bus: one round at a time, and none while the bus is away.
import type { Bus } from "../../shared/bus/connect.ts";

export interface RoundsOptions {
  bus: Bus;
  everyMs: number;
  /** One that fails is made again: the bus did not answer. */
  round(): Promise<void>;
  /** Asked at every turn, also at those at which no round can be made. */
  isDue?(): boolean;
}

/** Disposing waits for the round that is under way. */
export function makeRounds({ bus, everyMs, round, isDue = () => true }: RoundsOptions): AsyncDisposable {
  let busy: Promise<void> | null = null;
  const timer = setInterval(() => {
    if (!isDue() || busy !== null || bus.connectedSince() === null) return;
    busy = round()
      .catch(() => {})
      .finally(() => {
        busy = null;
      });
  }, everyMs);
  return {
    async [Symbol.asyncDispose]() {
      clearInterval(timer);
      await busy;
    },
  };
}
