// Keeps the log from growing for ever: of tasks that ended long ago only the end is kept. A few at a time, so that
// nobody who appends has to wait for it.
import type { Logger } from "pino";
import type { Bus } from "../../shared/bus/connect.ts";
import { purgeBeforeEnd } from "../../shared/bus/purge.ts";
import type { Ledger } from "./ledger.ts";
import { makeRounds } from "./rounds.ts";

const EVERY_MS = 1_000;
export const PURGED_AT_ONCE = 10;

export interface RetentionOptions {
  bus: Bus;
  ledger: Ledger;
  log: Logger;
  leads(): boolean;
  keepMs(): number;
  brokerNowMs(): number;
  everyMs?: number;
}

export function retain(options: RetentionOptions): AsyncDisposable {
  const { bus, ledger, log, leads, keepMs, brokerNowMs, everyMs = EVERY_MS } = options;
  let over = false;

  async function round(): Promise<void> {
    let purged = 0;
    for (; purged < PURGED_AT_ONCE && !over && leads(); purged++) {
      const oldest = ledger.oldestWhole();
      if (oldest === null || brokerNowMs() - oldest.endedAtMs < keepMs()) break;
      ledger.retained(oldest.taskId, (await purgeBeforeEnd(bus, oldest.taskId)) ? "end" : "whole");
    }
    if (purged > 0) log.info({ purged }, "only the end is kept of tasks that ended long ago");
  }

  const rounds = makeRounds({ bus, everyMs, round });
  return {
    async [Symbol.asyncDispose]() {
      over = true;
      await rounds[Symbol.asyncDispose]();
    },
  };
}
