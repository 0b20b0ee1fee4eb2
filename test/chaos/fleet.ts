// A mesh as real processes, each behind a link of its own: nats-server, two schedulers, two status trackers, a gateway
// and the hosts. What dies is started again, as a service manager would; everything has ended when the fleet has.
import { type ChildProcess, spawn } from "node:child_process";
import { createWriteStream } from "node:fs";
import { createServer } from "node:net";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { signalAll, treeOf } from "../../services/host-agent/guest/processes.ts";
import { launchNatsServer, type NatsServer } from "../../shared/nats-server/launch.ts";
import { type Link, openLink } from "../support/link.ts";

const ROOT = path.resolve(import.meta.dirname, "../..");
const RESTART_MS = 300;
const STOP_MS = 20_000;

type Service = "scheduler" | "status-tracker" | "gateway" | "host-agent";

export interface Member {
  readonly name: string;
  readonly service: Service;
  readonly link: Link;
  pid(): number | null;
  /** The process and everything below it, supervisors and attempts included. */
  tree(): number[];
  kill(signal: NodeJS.Signals): void;
  /** It stays down for so long after it has ended, ms. */
  keepDown(ms: number): void;
}

export interface Fleet extends AsyncDisposable {
  readonly members: Member[];
  readonly bus: { pid(): number; kill(): Promise<void>; url: string; port: number };
  readonly httpPort: number;
  /** When the bus was back after a death, wall clock, ms. */
  readonly busBackAtMs: number[];
  /** Exit codes other than 0 that no signal of ours explains. */
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
  let ending = false;
  const busBackAtMs: number[] = [];
  const { port, url } = server;
  stack.defer(() => server[Symbol.asyncDispose]());

  const killBus = async () => {
    process.kill(server.pid, "SIGKILL");
    await server.exited;
    await delay(RESTART_MS);
    server = await launch(port);
    busBackAtMs.push(Date.now());
  };

  const log = createWriteStream(path.join(folder, "services.log"));
  stack.defer(() => new Promise<void>((done) => log.end(() => done())));
  const crashes: string[] = [];
  const httpPort = await freePort();
  const member = async (name: string, service: Service, env: NodeJS.ProcessEnv = {}): Promise<Member> => {
    const link = stack.use(await openLink(port));
    let child: ChildProcess | null = null;
    let downUntilMs = 0;
    let signalled = false;
    const start = () => {
      child = spawn(process.execPath, [path.join(ROOT, "services", service, "main.ts")], {
        env: {
          ...process.env,
          NATS_URL: `nats://127.0.0.1:${link.port}`,
          MESH_LEASE_MS: String(leaseMs),
          MESH_LOG_LEVEL: "info",
          ...env,
        },
        stdio: ["ignore", "pipe", "pipe"],
      });
      signalled = false;
      for (const output of [child.stdout, child.stderr]) output?.on("data", (text) => log.write(text));
      child.once("exit", (code, signal) => {
        child = null;
        if (!signalled && code !== 0)
          crashes.push(`${name} ended by itself (exit ${code}, signal ${signal})`);
        if (!ending) void restart();
      });
    };
    const restart = async () => {
      do await delay(RESTART_MS);
      while (performance.now() < downUntilMs && !ending);
      if (!ending) start();
    };
    start();
    stack.defer(() => endProcess(() => child));
    return {
      name,
      service,
      link,
      pid: () => child?.pid ?? null,
      tree: () => (child?.pid === undefined ? [] : treeOf(child.pid)),
      kill: (signal) => {
        signalled ||= signal === "SIGKILL" || signal === "SIGTERM";
        child?.kill(signal);
      },
      keepDown: (ms) => {
        downUntilMs = performance.now() + ms;
      },
    };
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
    ending = true;
    for (const { link, tree } of members) {
      link.mend();
      signalAll(tree(), "SIGCONT");
    }
  });
  const owned = stack.move();
  return {
    members,
    bus: { pid: () => server.pid, kill: killBus, url, port },
    httpPort,
    busBackAtMs,
    crashes,
    hostIds,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

async function endProcess(of: () => ChildProcess | null): Promise<void> {
  const child = of();
  if (child === null || child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise<void>((done) => child.once("exit", () => done()));
  child.kill("SIGTERM");
  const force = setTimeout(
    () => signalAll(child.pid === undefined ? [] : treeOf(child.pid), "SIGKILL"),
    STOP_MS,
  );
  await ended;
  clearTimeout(force);
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const address = server.address();
  await new Promise<void>((done) => server.close(() => done()));
  if (typeof address !== "object" || address === null) throw new Error("no free port");
  return address.port;
}
