// Real host agents as processes, on a real server with a real status tracker; a test gives the orders in the
// scheduler's place. Whatever they started has ended, and their folders are gone, when the test has.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { pino } from "pino";
import { uuidv7 } from "uuidv7";
import { vi } from "vitest";
import { endFormerLife } from "../../services/host-agent/guest/former-life.ts";
import { markedWith, signalAll, treeOf, withArguments } from "../../services/host-agent/guest/processes.ts";
import { markOf, stateArguments } from "../../services/host-agent/guest/state.ts";
import { start as startTracker } from "../../services/status-tracker/main.ts";
import { ask } from "../../shared/bus/ask.ts";
import type { Bus } from "../../shared/bus/connect.ts";
import { factsOfTask, lastMessage } from "../../shared/bus/read.ts";
import { HOSTS } from "../../shared/bus/streams.ts";
import { submitTask } from "../../shared/bus/submit.ts";
import { readEnvironment } from "../../shared/config/environment.ts";
import type { DeployRequest } from "../../shared/contracts/deploy-request.ts";
import type { FactKind } from "../../shared/contracts/fact.ts";
import type { Answer } from "../../shared/contracts/failure.ts";
import { Heartbeat, heartbeatSubject } from "../../shared/contracts/heartbeat.ts";
import { orderSubject, type RunOrder, RunReply, StopReply } from "../../shared/contracts/order.ts";
import type { SyncInterval } from "../../shared/nats-server/server-config.ts";
import { openBus } from "./bus.ts";
import { request } from "./facts.ts";
import { type MortalNats, startMortalNats } from "./nats.ts";
import { makeRepository } from "./repository.ts";

const MAIN = path.resolve(import.meta.dirname, "../../services/host-agent/main.ts");
const ORDER_MS = 15_000;
export const DEADLINE = { timeout: 60_000, interval: 25 };

export interface Host {
  readonly id: string;
  readonly process: ChildProcess;
  readonly dataDir: string;
  /** Throws while there is none: a test that signals 0 signals itself. */
  readonly supervisorPid: () => number;
  /** All it has printed. */
  readonly output: () => string;
  /** Living processes of its attempts. */
  readonly attempts: () => number[];
  readonly exitCode: Promise<number | null>;
}

export interface HostMesh extends AsyncDisposable {
  readonly nats: MortalNats;
  readonly bus: Bus;
  /** A folder for what commands leave for the test to see. */
  readonly folder: string;
  /**
   * A host that has said a heartbeat; another of the same name goes on with its data folder. `inside`: a program, with
   * its arguments, that starts it and that it then takes the place of.
   */
  host(id: string, env?: NodeJS.ProcessEnv, inside?: string[]): Promise<Host>;
  /** The same, without waiting for anything. */
  spawnHost(id: string, env?: NodeJS.ProcessEnv, inside?: string[]): Host;
  /** For a mesh that was begun without one. */
  startTracker(): Promise<AsyncDisposable>;
  heartbeat(hostId: string): Promise<Heartbeat | null>;
  /** Puts a request for this command on the log. */
  submit(command: string, overrides?: Partial<DeployRequest>): Promise<Task>;
}

export interface Task {
  readonly taskId: string;
  /** An order to begin an attempt, on what the log says now unless told otherwise. */
  order(overrides?: { attempt?: number; after?: number }): Promise<RunOrder>;
  /** Gives that order to the host, again for as long as it has no lease. */
  run(hostId: string, overrides?: { attempt?: number; after?: number }): Promise<Answer<RunReply>>;
  stop(hostId: string, attempt: number): Promise<Answer<StopReply>>;
  kinds(): Promise<FactKind[]>;
  /** The same without `resumed`: on a busy machine a host may stand still for a moment, whatever a test does. */
  story(): Promise<FactKind[]>;
  /** Waits until the log has so many facts of this kind; the body of the last. */
  said(kind: FactKind, count?: number): Promise<Record<string, unknown>>;
}

interface Wanted {
  leaseMs?: number;
  tracker?: boolean;
  syncInterval?: SyncInterval;
}

export async function startHostMesh({
  leaseMs = 12_000,
  tracker = true,
  syncInterval = "2m",
}: Wanted = {}): Promise<HostMesh> {
  await using stack = new AsyncDisposableStack();
  const folder = mkdtempSync(path.join(tmpdir(), "mesh-hosts-"));
  stack.defer(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }));
  const repository = stack.use(makeRepository());
  const nats = stack.use(await startMortalNats({ syncInterval }));
  const bus = stack.use(await openBus(nats.url));
  const settings = { NATS_URL: nats.url, MESH_LEASE_MS: String(leaseMs) };
  const ownTracker = () =>
    startTracker({ environment: readEnvironment(settings), log: pino({ level: "silent" }) });
  if (tracker) stack.use(await ownTracker());

  const owned = stack.move();

  function spawnHost(id: string, env: NodeJS.ProcessEnv = {}, inside: string[] = []): Host {
    const dataDir = path.join(folder, env.MESH_DATA_DIR ?? id);
    const [starter, ...before] = inside;
    const [program, args] =
      starter === undefined ? [process.execPath, [MAIN]] : [starter, [...before, process.execPath, MAIN]];
    const child = spawn(program, args, {
      env: {
        ...process.env,
        ...settings,
        MESH_HOST_ID: id,
        MESH_ALLOW_FILE_CLONES: "1",
        ...env,
        MESH_DATA_DIR: dataDir,
      },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    for (const pipe of [child.stdout, child.stderr])
      createInterface({ input: pipe }).on("line", (line) => {
        output += `${line}\n`;
      });
    const stateDir = path.join(dataDir, "supervisor");
    const exitCode = once(child, "exit").then(([code]) => code as number | null);
    owned.defer(async () => {
      if (child.exitCode === null && child.signalCode === null) {
        signalAll(treeOf(child.pid ?? 0), "SIGCONT");
        child.kill("SIGKILL");
      }
      await exitCode;
      await endFormerLife(stateDir);
    });
    return {
      id,
      process: child,
      dataDir,
      output: () => output,
      exitCode,
      attempts: () => markedWith(markOf(stateDir)),
      supervisorPid() {
        // Its watchdog has no lease of its own among its arguments.
        const [pid] = withArguments(...stateArguments(stateDir), "--lease-ms");
        if (pid === undefined) throw new Error(`host ${id} has no supervisor at the moment`);
        return pid;
      },
    };
  }

  async function heartbeat(hostId: string): Promise<Heartbeat | null> {
    const message = await lastMessage(bus, HOSTS, heartbeatSubject.build({ hostId })).catch(() => null);
    return message === null ? null : Heartbeat.parse(JSON.parse(Buffer.from(message.payload).toString()));
  }

  async function submit(command: string, overrides: Partial<DeployRequest> = {}): Promise<Task> {
    const taskId = overrides.taskId ?? uuidv7();
    const submitted = await submitTask(
      bus,
      request({
        cloneUrl: repository.url,
        branch: repository.branch,
        sha: repository.headSha,
        run: { command },
        ...overrides,
        taskId,
      }),
    );
    if (!submitted.ok) throw new Error(submitted.error.message);
    const facts = () => factsOfTask(bus, taskId).catch(() => []);
    const kinds = async () => (await facts()).map(({ kind }) => kind);
    const order = async ({ attempt = 1, after }: { attempt?: number; after?: number } = {}) => {
      const [requested, ...others] = await facts();
      if (requested?.kind !== "requested" || requested.body === null)
        throw new Error("the log has no such request");
      const { sequence } = others.at(-1) ?? requested;
      return { taskId, attempt, after: after ?? sequence, request: requested.body };
    };
    return {
      taskId,
      order,
      async run(hostId, overrides) {
        const subject = orderSubject.build({ hostId, order: "run" });
        return vi.waitUntil(async () => {
          const reply = await ask(bus, subject, await order(overrides), RunReply, ORDER_MS);
          // A machine busy with other tests may have stood still for a moment, and its lease with it.
          const isReady = !reply.ok || !("reason" in reply.value) || reply.value.reason !== "not-ready";
          return isReady ? reply : null;
        }, DEADLINE);
      },
      stop: (hostId, attempt) =>
        ask(
          bus,
          orderSubject.build({ hostId, order: "stop" }),
          { taskId, attempt, reason: "cancelled" },
          StopReply,
        ),
      kinds,
      story: async () => (await kinds()).filter((kind) => kind !== "resumed"),
      async said(kind, count = 1) {
        const found = await vi.waitUntil(async () => {
          const those = (await facts()).filter((fact) => fact.kind === kind);
          return those.length >= count ? those : null;
        }, DEADLINE);
        return found.at(-1)?.body as unknown as Record<string, unknown>;
      },
    };
  }

  return {
    nats,
    bus,
    folder,
    spawnHost,
    startTracker: ownTracker,
    async host(id, env, inside) {
      const before = await heartbeat(id);
      const host = spawnHost(id, env, inside);
      const early = host.exitCode.then((code) => {
        throw new Error(`the host agent ended (${code}): ${host.output()}`);
      });
      early.catch(() => {});
      const isUp = vi.waitUntil(async () => {
        const now = await heartbeat(id);
        return now !== null && now.boot !== before?.boot;
      }, DEADLINE);
      await Promise.race([isUp, early]);
      return host;
    },
    heartbeat,
    submit,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
