// A mesh as real processes, each behind a link of its own: nats-server, two schedulers, two status trackers, a gateway
// and the hosts. What dies is started again, as a service manager would; everything has ended when the fleet has.
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { ServiceName } from "../../shared/contracts/service.ts";
import { launchNatsServer, type NatsServer } from "../../shared/nats-server/launch.ts";
import { freePort } from "../support/free-port.ts";
import { type Link, openLink } from "../support/link.ts";
import { type ServiceProcess, startServiceProcesses } from "../support/service-processes.ts";

const RESTART_MS = 300;

export interface Member extends ServiceProcess {
  readonly link: Link;
}

export interface Fleet extends AsyncDisposable {
  readonly members: Member[];
  readonly bus: { pid(): number; kill(): Promise<void>; url: string; port: number };
  readonly httpPort: number;
  /** When the bus was back after a death, wall clock, ms. */
  readonly busBackAtMs: number[];
  /** Ends with an exit code other than 0 that no signal of ours explains. */
  readonly crashes: string[];
  readonly hostIds: string[];
}

export interface FleetOptions {
  folder: string;
  program: string;
  hosts: number;
  slots: number;
  leaseMs: number;
}

export async function startFleet({ folder, program, hosts, slots, leaseMs }: FleetOptions): Promise<Fleet> {
  await using stack = new AsyncDisposableStack();
  const dataDir = path.join(folder, "nats");
  const launch = (port: number) => launchNatsServer({ program, dataDir, port, syncInterval: "always" });
  let server: NatsServer = await launch(0);
  const busBackAtMs: number[] = [];
  const { port, url } = server;
  stack.defer(() => server[Symbol.asyncDispose]());
  const links = stack.use(new AsyncDisposableStack());

  const killBus = async () => {
    process.kill(server.pid, "SIGKILL");
    await server.exited;
    await delay(RESTART_MS);
    server = await launch(port);
    busBackAtMs.push(Date.now());
  };

  const processes = stack.use(
    await startServiceProcesses(folder, {
      MESH_LEASE_MS: String(leaseMs),
      MESH_LOG_LEVEL: "info",
      // Workloads write down what they do where the checker reads it.
      MESH_HOST_SANDBOX: "0",
    }),
  );
  const httpPort = await freePort();
  const member = async (name: string, service: ServiceName, env: NodeJS.ProcessEnv = {}): Promise<Member> => {
    const link = links.use(await openLink(port));
    const own = { NATS_URL: `nats://127.0.0.1:${link.port}`, ...env };
    return Object.assign(processes.start(service, own, name), { link });
  };

  const hostIds = Array.from({ length: hosts }, (_, index) => `host-${index + 1}`);
  const members = [
    ...(await Promise.all(["scheduler-1", "scheduler-2"].map((name) => member(name, "scheduler")))),
    ...(await Promise.all(["tracker-1", "tracker-2"].map((name) => member(name, "status-tracker")))),
    await member("gateway", "gateway", { MESH_HTTP_PORT: String(httpPort) }),
    ...(await Promise.all(
      hostIds.map((hostId) =>
        member(hostId, "host-agent", {
          MESH_HOST_ID: hostId,
          MESH_HOST_SLOTS: String(slots),
          MESH_DATA_DIR: path.join(folder, hostId),
          MESH_ALLOW_FILE_CLONES: "1",
        }),
      ),
    )),
  ];
  stack.defer(() => {
    for (const { link } of members) link.mend();
  });
  const owned = stack.move();
  return {
    members,
    bus: { pid: () => server.pid, kill: killBus, url, port },
    httpPort,
    busBackAtMs,
    crashes: processes.crashes,
    hostIds,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
