// The fleet as people are shown it: every host as it last said it is, with what operators wish of it, what holds work up,
// and what the bus lacks room for.
import type { Pauses } from "../../shared/bus/pauses.ts";
import type { ApiReply, BreakerView, HostView } from "../../shared/contracts/api.ts";
import type { HostWish } from "../../shared/contracts/wish.ts";
import type { Breakers, Guarded } from "../../shared/lifecycle/breakers.ts";
import type { Presence } from "./presence.ts";

export interface FleetViewPorts {
  presence: Presence;
  breakers: Breakers;
  wishes: ReadonlyMap<string, HostWish>;
  pauses: Pauses;
  brokerNowMs(): number;
  notices(): string[];
}

export function fleetView(ports: FleetViewPorts): ApiReply<"hosts"> {
  const { presence, breakers, wishes, pauses, brokerNowMs, notices } = ports;
  function breakerOf(guarded: Guarded, name: string): BreakerView | null {
    const breaker = breakers.state(guarded, name, brokerNowMs());
    if (breaker === null) return null;
    const { state, why, probe, sinceMs, probeAtMs } = breaker;
    const [since, nextProbeAt] = [new Date(sinceMs).toISOString(), new Date(probeAtMs).toISOString()];
    return { state, since, why, nextProbeAt, probe };
  }

  const repositoryBreakers = () =>
    [...breakers.notClosed("repository")].flatMap((repository) => {
      const breaker = breakerOf("repository", repository);
      return breaker === null ? [] : [{ repository, ...breaker }];
    });

  function hosts(): HostView[] {
    const nowMs = performance.now();
    return [...presence.hosts.values()]
      .map((host) => ({
        ...host.heartbeat,
        online: presence.isOnline(host, nowMs),
        lastSeenAt: new Date(host.timeMs).toISOString(),
        wish: wishes.get(host.heartbeat.hostId) ?? null,
        breaker: breakerOf("host", host.heartbeat.hostId),
      }))
      .sort((one, other) => one.hostId.localeCompare(other.hostId));
  }

  return { data: hosts(), pauses: pauses.all(), breakers: repositoryBreakers(), notices: notices() };
}
