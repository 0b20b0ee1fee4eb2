// Tells whoever submits how many tasks have no end yet, and how many may. It counts; it refuses nobody.
import type { Bus } from "../../shared/bus/connect.ts";
import { type Intake, intakeSubject } from "../../shared/contracts/intake.ts";
import type { Ledger } from "./ledger.ts";

const EVERY_MS = 250;
/** Said again after so long though nothing has changed: it lies in the bus's memory, ms. */
const AGAIN_MS = 5_000;

export function tellIntake(bus: Bus, ledger: Ledger, limit: number, leads: () => boolean): Disposable {
  let toldSequence = -1;
  let toldAtMs = Number.NEGATIVE_INFINITY;
  const tell = () => {
    const nowMs = performance.now();
    if (!leads() || bus.connectedSince() === null) return;
    if (ledger.sequence === toldSequence && nowMs - toldAtMs < AGAIN_MS) return;
    const intake: Intake = { sequence: ledger.sequence, unfinished: ledger.unfinished, limit };
    bus.connection.publish(intakeSubject.build({}), JSON.stringify(intake));
    [toldSequence, toldAtMs] = [ledger.sequence, nowMs];
  };
  const timer = setInterval(tell, EVERY_MS);
  const reconnect = bus.onReconnect(() => {
    toldAtMs = Number.NEGATIVE_INFINITY;
  });
  return {
    [Symbol.dispose]() {
      clearInterval(timer);
      reconnect[Symbol.dispose]();
    },
  };
}
