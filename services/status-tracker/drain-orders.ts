// Has every host know whether it drains: hosts cannot read what operators wish, so the leading tracker orders it, again
// until the host's own heartbeat says so. A host that was started again is told again.
import { ask } from "../../shared/bus/ask.ts";
import type { Bus } from "../../shared/bus/connect.ts";
import { type DrainOrder, DrainReply, orderSubject } from "../../shared/contracts/order.ts";
import type { HostWish } from "../../shared/contracts/wish.ts";
import type { Presence } from "./presence.ts";

const SWEEP_MS = 1_000;
const REPLY_MS = 1_000;

export interface DrainOrders extends Disposable {
  /** Orders the host what it does not say of itself yet. */
  look(hostId: string): void;
}

export function keepDrainsKnown(
  bus: Bus,
  presence: Presence,
  wishes: ReadonlyMap<string, HostWish>,
  leads: () => boolean,
): DrainOrders {
  const ordering = new Set<string>();

  function look(hostId: string): void {
    const host = presence.hosts.get(hostId);
    const draining = wishes.get(hostId)?.kind === "draining";
    if (
      host === undefined ||
      host.heartbeat.stopping ||
      host.heartbeat.draining === draining ||
      !leads() ||
      ordering.has(hostId)
    )
      return;
    if (!presence.isOnline(host, performance.now())) return;
    ordering.add(hostId);
    const order: DrainOrder = { draining };
    // What came of it shows in the host's heartbeats.
    void ask(bus, orderSubject.build({ hostId, order: "drain" }), order, DrainReply, REPLY_MS).finally(() =>
      ordering.delete(hostId),
    );
  }

  const sweep = setInterval(() => {
    if (bus.connectedSince() !== null) for (const hostId of presence.hosts.keys()) look(hostId);
  }, SWEEP_MS);
  return { look, [Symbol.dispose]: () => clearInterval(sweep) };
}
