// Tells whoever submits how many tasks have no end yet, how many may, and whether there is room for more. It refuses
// nobody.
import type { Bus } from "../../shared/bus/connect.ts";
import { type Intake, intakeSubject } from "../../shared/contracts/intake.ts";
import type { Ledger } from "./ledger.ts";

const EVERY_MS = 250;
/** Said again after so long though nothing has changed: it lies in the bus's memory, ms. */
const AGAIN_MS = 5_000;

export function tellIntake(
  bus: Bus,
  ledger: Ledger,
  limit: number,
  isFull: () => boolean,
  leads: () => boolean,
): Disposable {
  let told: Intake | null = null;
  let toldAtMs = Number.NEGATIVE_INFINITY;
  const tell = () => {
    const nowMs = performance.now();
    if (!leads() || bus.connectedSince() === null) return;
    const { sequence, unfinished } = ledger;
    const intake: Intake = { sequence, unfinished: { ...unfinished }, limit, full: isFull() };
    if (told?.sequence === sequence && told.full === intake.full && nowMs - toldAtMs < AGAIN_MS) return;
    bus.connection.publish(intakeSubject.build({}), JSON.stringify(intake));
    [told, toldAtMs] = [intake, nowMs];
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
