// A mesh of real processes on a real server, under a steady flow of short tasks, over NATS and HTTP, whose commands
// write down that they begin and end. It must hold no expectations.
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { vi } from "vitest";
import { askApi } from "../../shared/bus/ask.ts";
import type { Bus } from "../../shared/bus/connect.ts";
import { httpClient } from "../../shared/client/http-client.ts";
import { natsClient } from "../../shared/client/nats-client.ts";
import type { HostView } from "../../shared/contracts/api.ts";
import type { TaskView } from "../../shared/contracts/task.ts";
import { isEnd } from "../../shared/lifecycle/table.ts";
import { openBus } from "./bus.ts";
import { smallRequest } from "./facts.ts";
import { freePort } from "./free-port.ts";
import { startNats } from "./nats.ts";
import { makeRepository } from "./repository.ts";
import { type ServiceProcess, startServiceProcesses } from "./service-processes.ts";

export const DEADLINE = { timeout: 90_000, interval: 50 };
const OUTSTANDING = 4;
const PAUSE_MS = 50;

export interface LoadedMesh extends AsyncDisposable {
  readonly bus: Bus;
  /** `scheduler`, `status-tracker`, `gateway`, and the hosts by their ids. */
  readonly services: Record<string, ServiceProcess>;
  readonly crashes: string[];
  /** What the tracker tells of a host; null while nobody answers, or it has not been heard of. */
  host(hostId: string): Promise<HostView | null>;
  /** Begins to submit, a few unfinished at a time, until it is stopped and everything has ended. */
  load(): Load;
}

interface Load {
  acknowledged(): number;
  /** No more is submitted; resolves once all has ended, with what became of each. */
  stop(): Promise<Done[]>;
}

interface Done {
  task: TaskView;
  /** `begin` and `end`, in the order that they were written. */
  acts: string[];
}

/** `env` by a service's name, or a host's id. */
export async function startLoadedMesh(env: Record<string, NodeJS.ProcessEnv> = {}): Promise<LoadedMesh> {
  await using stack = new AsyncDisposableStack();
  const folder = await mkdtemp(path.join(tmpdir(), "mesh-loaded-"));
  stack.defer(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }));
  const repository = stack.use(makeRepository());
  const { url } = stack.use(await startNats());
  const bus = stack.use(await openBus(url));
  const port = await freePort();
  const processes = stack.use(
    await startServiceProcesses(folder, {
      NATS_URL: url,
      MESH_LOG_LEVEL: "info",
      MESH_HTTP_PORT: String(port),
      MESH_HOST_SLOTS: "2",
      MESH_ALLOW_FILE_CLONES: "1",
    }),
  );
  const services: Record<string, ServiceProcess> = {};
  for (const service of ["scheduler", "status-tracker", "gateway"] as const)
    services[service] = processes.start(service, env[service]);
  for (const hostId of ["host-1", "host-2"]) {
    const own = { MESH_HOST_ID: hostId, MESH_DATA_DIR: path.join(folder, hostId), ...env[hostId] };
    services[hostId] = processes.start("host-agent", own, hostId);
  }

  const witness = path.join(folder, "witness");
  const say = 'say() { echo "$MESH_TASK_ID $1" >> "$WITNESS"; }';
  const command = `${say}; say begin; sleep 0.2; say end`;
  const clients = [natsClient(bus), httpClient(`http://127.0.0.1:${port}`)];
  const submitOne = async (number: number): Promise<string> => {
    const taskId = `load-${number}`;
    const run = { command, env: { WITNESS: witness } };
    const task = smallRequest(repository, { taskId, run });
    while (!(await clients[number % clients.length]?.submit(task))?.ok) await delay(PAUSE_MS);
    return taskId;
  };
  const acts = async () =>
    (await readFile(witness, "utf8").catch(() => "")).split("\n").map((line) => line.split(" "));

  const owned = stack.move();
  return {
    bus,
    services,
    crashes: processes.crashes,
    async host(hostId) {
      const hosts = await askApi(bus, "hosts", {}, 1_000);
      return (hosts.ok && hosts.value.data.find((host) => host.hostId === hostId)) || null;
    },
    load() {
      const taskIds: string[] = [];
      const stopping = new AbortController();
      let number = 0;
      // Each of them waits for its task before it submits the next.
      const submitters = Array.from({ length: OUTSTANDING }, async () => {
        while (!stopping.signal.aborted) {
          const taskId = await submitOne(number++);
          taskIds.push(taskId);
          await ended(bus, taskId);
        }
      });
      return {
        acknowledged: () => taskIds.length,
        async stop() {
          stopping.abort();
          await Promise.all(submitters);
          const written = await acts();
          return Promise.all(
            taskIds.map(async (taskId) => ({
              task: await ended(bus, taskId),
              acts: written.flatMap(([of, what = ""]) => (of === taskId ? [what] : [])),
            })),
          );
        },
      };
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

const ended = (bus: Bus, taskId: string): Promise<TaskView> =>
  vi.waitUntil(async () => {
    const task = await askApi(bus, "get", { taskId }, 1_000);
    return task.ok && isEnd(task.value.state) && task.value;
  }, DEADLINE);
