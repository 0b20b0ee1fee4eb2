// Says what this host is and does, at a steady pace that nothing delays; each one that the server has
// acknowledged renews the supervisor's lease by the stamp that travelled with it.
import type { Bus } from "../../shared/bus/connect.ts";
import { type Heartbeat, heartbeatSubject } from "../../shared/contracts/heartbeat.ts";

export interface HeartbeatOptions {
  bus: Bus;
  hostId: string;
  everyMs: number;
  /** An answer that comes later than a lease lasts is worth nothing. */
  leaseMs: number;
  /** Everything but the counter; taken anew for each. */
  compose(): Omit<Heartbeat, "counter">;
  /** Takes the supervisor's latest stamp along; what it returns hands that stamp back. Null while there is none. */
  takeStamp(): (() => void) | null;
}

export interface Heartbeats extends Disposable {
  /** Of the latest one sent. */
  counter(): number;
  /** Sends one now, out of turn. */
  beat(): void;
}

export function startHeartbeats(options: HeartbeatOptions): Heartbeats {
  const { bus, hostId, everyMs, leaseMs, compose, takeStamp } = options;
  const subject = heartbeatSubject.build({ hostId });
  let counter = 0;

  const beat = () => {
    counter++;
    const renew = takeStamp();
    const heartbeat: Heartbeat = { ...compose(), counter };
    void bus.js
      .publish(subject, JSON.stringify(heartbeat), { timeout: leaseMs, retries: 0 })
      .then(() => renew?.())
      // No answer, no lease: the supervisor draws the conclusion by itself.
      .catch(() => {});
  };
  beat();
  const timer = setInterval(beat, everyMs);
  return { counter: () => counter, beat, [Symbol.dispose]: () => clearInterval(timer) };
}
