// Checks of the way to the mesh: its address, TLS, the server and its streams, the two clocks, and who answers there.
import { isIP } from "node:net";
import type { BrokerState } from "../../../shared/bus/broker-clock.ts";
import type { Environment } from "../../../shared/config/environment.ts";
import { certificateEnd } from "./certificate.ts";
import { clockFinding, type Finding, fail, ok, warn } from "./finding.ts";

export type BusReading =
  | { reached: false; address: string | null; why: string }
  | {
      reached: true;
      /** Without its secret. */
      address: string;
      hasSecret: boolean;
      /** Until its certificate ends, days; null without TLS, or when it cannot be seen. */
      certificateDays: number | null;
      serverVersion: string;
      broker: BrokerState;
      /** Hosts that are online; null: no status tracker answers. */
      hosts: string[] | null;
    };

export function judgeBus(reading: BusReading): Finding[] {
  if (!reading.reached) {
    if (reading.address === null)
      return [warn("bus", reading.why, "set NATS_URL to the address of the mesh's bus, or start `mesh up`")];
    return [
      fail(
        "bus",
        reading.why,
        "see that nats-server runs there, and that NATS_URL and NATS_CA_FILE are right",
      ),
    ];
  }
  const { address, serverVersion, broker, hosts } = reading;
  return [
    ok("bus", `${address}, nats-server ${serverVersion}`),
    judgeTls(reading),
    ...judgeBroker(broker),
    judgeMesh(hosts),
  ];
}

function judgeTls({
  address,
  hasSecret,
  certificateDays: days,
}: Pick<Extract<BusReading, { reached: true }>, "address" | "hasSecret" | "certificateDays">): Finding {
  const url = URL.parse(address.split(",")[0] ?? "");
  const local = url !== null && isLoopback(url.hostname);
  if (url?.protocol === "tls:") {
    const found = `the certificate ends in ${days} days`;
    if (days === null) return ok("tls", "required");
    return days < CERTIFICATE_DAYS
      ? warn("tls", found, "renew it (docs/second-machine.md), and give hosts the new ca.pem")
      : ok("tls", found);
  }
  if (local) return ok("tls", "not needed on this machine");
  const what = hasSecret ? "the token and all work" : "all work";
  return warn(
    "tls",
    `${what} can be read on the network`,
    "give the bus a certificate, and use tls://… (docs/second-machine.md)",
  );
}

const CERTIFICATE_DAYS = 21;

const isLoopback = (host: string): boolean =>
  host === "localhost" || host === "[::1]" || (isIP(host) === 4 && host.startsWith("127."));

function judgeBroker(broker: BrokerState): Finding[] {
  if (broker.jetStream === "off")
    return [
      fail(
        "jetstream",
        "the server keeps no streams",
        "start it with `nats-server -c nats.conf`, or with -js",
      ),
    ];
  if (broker.jetStream === "unknown")
    return [ok("jetstream", "this host may not ask about it, which is as it should be")];
  const streams = broker.provisioned
    ? ok("jetstream", "has the mesh's log")
    : warn(
        "jetstream",
        "has no log of a mesh yet",
        "start the scheduler and the status tracker, which make it",
      );
  if (broker.aheadMs === null) return [streams];
  return [
    streams,
    clockFinding(
      "clock",
      broker.aheadMs,
      "the bus",
      "have this machine and that of the bus set their clocks by NTP",
    ),
  ];
}

const judgeMesh = (hosts: string[] | null): Finding =>
  hosts === null
    ? warn("mesh", "no status tracker answers", "start one: node services/status-tracker/main.ts")
    : ok("mesh", `${hosts.length} host${hosts.length === 1 ? "" : "s"} online`);

const HOSTS_MS = 4_000;

export async function readBus(environment: Environment, env: NodeJS.ProcessEnv): Promise<BusReading> {
  const { BusError, connectBus, withoutSecret } = await import("../../../shared/bus/connect.ts");
  const { brokerState } = await import("../../../shared/bus/broker-clock.ts");
  const { natsClient } = await import("../../../shared/client/nats-client.ts");
  const { findBus } = await import("../find-bus.ts");
  const found = await findBus(environment.NATS_URL, env);
  if (!found.ok) return { reached: false, address: null, why: found.error.message };
  const { url } = found.value;
  const address = withoutSecret(url);
  try {
    await using bus = await connectBus({ url, name: "mesh doctor", caFile: environment.NATS_CA_FILE });
    const [broker, end, hosts] = await Promise.all([
      brokerState(bus),
      url.startsWith("tls:") ? certificateEnd(url) : null,
      Promise.race([natsClient(bus).hosts(), new Promise<null>((done) => setTimeout(done, HOSTS_MS, null))]),
    ]);
    const online = hosts?.ok
      ? hosts.value.data.filter((host) => host.online).map((host) => host.hostId)
      : null;
    const certificateDays = end === null ? null : Math.floor((end.getTime() - Date.now()) / 86_400_000);
    const serverVersion = bus.connection.info?.version ?? "unknown";
    return {
      reached: true,
      address,
      hasSecret: address !== url,
      certificateDays,
      serverVersion,
      broker,
      hosts: online,
    };
  } catch (error) {
    if (error instanceof BusError) return { reached: false, address, why: error.message };
    throw error;
  }
}
