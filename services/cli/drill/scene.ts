// What a drill works with: the bus, tasks of its own and what is heard of them, and services of its own to kill. Disposing
// cancels the tasks and ends the services.
import { execFile } from "node:child_process";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { askApi } from "../../../shared/bus/ask.ts";
import { entriesOf, putEntry } from "../../../shared/bus/bucket.ts";
import { type Bus, connectBus } from "../../../shared/bus/connect.ts";
import { followFacts } from "../../../shared/bus/follow.ts";
import { factsOfTask } from "../../../shared/bus/read.ts";
import { LEASES } from "../../../shared/bus/streams.ts";
import { leaseTimes, readEnvironment } from "../../../shared/config/environment.ts";
import type { DeployRequest } from "../../../shared/contracts/deploy-request.ts";
import type { Fact } from "../../../shared/contracts/fact.ts";
import { type LeaseTimes, silenceMs } from "../../../shared/contracts/lease.ts";
import { foldAll } from "../../../shared/lifecycle/fold.ts";
import { isEnd } from "../../../shared/lifecycle/table.ts";
import { Failure, messageOf } from "../outcome.ts";
import { makeDemoRepository } from "../up/demo-repository.ts";
import type { Evidence } from "./judgement.ts";
import { type DrillService, type DrillServices, drillServices } from "./services.ts";
import { actsOf, type DrillKind, type DrillSource, drillRequest, submitUntilTaken } from "./workload.ts";

export interface SceneOptions {
  url: string;
  /** The user's own way of killing, for `sh -c`. */
  command: string | undefined;
  /** A repository that the hosts can clone; null for a tiny one on this machine. */
  source: DrillSource | null;
  onProgress: (text: string) => void;
  signal: AbortSignal;
}

export interface Heard {
  fact: Fact;
  /** Monotonic, ms. */
  atMs: number;
}

const LABEL = "mesh-drill";
const SLOTS = 8;
const POLL_MS = 25;
const PREPARE_MS = 60_000;
/** Beyond what a fault may take. */
const PATIENCE_MS = 60_000;

export class Scene implements AsyncDisposable {
  readonly bus: Bus;
  readonly times: LeaseTimes;
  readonly heard: Heard[] = [];
  readonly #id = Date.now().toString(36);
  readonly #options: SceneOptions;
  readonly #services: DrillServices;
  readonly #source: DrillSource;
  readonly #taskIds: string[] = [];
  readonly #owned = new AsyncDisposableStack();

  private constructor(options: SceneOptions, bus: Bus, services: DrillServices, own: Own) {
    this.#options = options;
    this.bus = bus;
    this.#services = services;
    this.#source = own.source;
    this.times = own.times;
  }

  static async open(options: SceneOptions): Promise<Scene> {
    await using stack = new AsyncDisposableStack();
    const { url, signal } = options;
    const bus = stack.use(await connectBus({ url, name: "mesh drill", caFile: process.env.NATS_CA_FILE }));
    const hosts = await askApi(bus, "hosts", {});
    if (!hosts.ok) throw new Failure(`no mesh answers on this bus: ${hosts.error.message}`);
    // The mesh's lease, as its hosts tell it: those of a drill must have the same.
    const told = hosts.value.data.find(({ online }) => online)?.heartbeatMs;
    const { heartbeatMs, leaseMs } = leaseTimes(readEnvironment().MESH_LEASE_MS);
    const times = leaseTimes(
      told === undefined || told === heartbeatMs ? leaseMs : Math.round((told * leaseMs) / heartbeatMs),
    );
    const services = stack.use(await drillServices({ NATS_URL: url, MESH_LEASE_MS: String(times.leaseMs) }));
    const source = options.source ?? (await makeDemoRepository(path.join(services.folder, "repository")));
    signal.throwIfAborted();
    const scene = new Scene(options, bus, services, { source, times });
    const following = stack.use(
      await followFacts(bus, { from: "new" }, (fact) => {
        if (fact.body !== null && scene.#taskIds.includes(fact.taskId))
          scene.heard.push({ fact, atMs: performance.now() });
      }),
    );
    await following.caughtUp;
    stack.defer(() => scene.end(scene.#taskIds));
    scene.#owned.use(stack.move());
    return scene;
  }

  /** Whether it came true; throws when the drill is interrupted. */
  async within(ms: number, isSo: () => boolean | Promise<boolean>): Promise<boolean> {
    const { signal } = this.#options;
    for (const deadline = performance.now() + ms; performance.now() < deadline; await delay(POLL_MS)) {
      signal.throwIfAborted();
      if (await isSo()) return true;
    }
    return false;
  }

  /** What must be so before anything is killed. */
  async prepared(what: string, isSo: () => boolean | Promise<boolean>, withinMs = PREPARE_MS): Promise<void> {
    this.#options.onProgress(what);
    if (!(await this.within(withinMs, isSo)))
      throw new Failure(
        `not so within ${withinMs / 1_000} s: ${what}. The last of the drill's own services:\n${await this.#services.tail()}`,
      );
  }

  /** A task of another kind, on a host that the drill has started. */
  async submitRequest(request: Partial<DeployRequest>): Promise<string> {
    const taskId = `drill-${this.#id}-${this.#taskIds.length + 1}`;
    this.#taskIds.push(taskId);
    const short = drillRequest(taskId, "short", this.#source, { [LABEL]: this.#id });
    const { run: _, ...rest } = short;
    await submitUntilTaken(this.bus, { ...rest, ...request }, this.#options.signal);
    return taskId;
  }

  /** `anywhere`: on the user's hosts too; else on those that the drill has started. */
  async submit(kind: DrillKind, anywhere = false): Promise<string> {
    const taskId = `drill-${this.#id}-${this.#taskIds.length + 1}`;
    this.#taskIds.push(taskId);
    const labels = anywhere ? {} : { [LABEL]: this.#id };
    await submitUntilTaken(this.bus, drillRequest(taskId, kind, this.#source, labels), this.#options.signal);
    return taskId;
  }

  factsAbout(taskId: string): Heard[] {
    return this.heard.filter(({ fact }) => fact.taskId === taskId);
  }

  async startHost(number: number, env: NodeJS.ProcessEnv = {}): Promise<DrillService> {
    const hostId = `drill-${number}`;
    const host = this.#services.start("host-agent", {
      MESH_HOST_ID: hostId,
      MESH_HOST_SLOTS: String(SLOTS),
      MESH_HOST_LABELS: `${LABEL}=${this.#id}`,
      MESH_DATA_DIR: path.join(this.#services.folder, hostId),
      MESH_ALLOW_FILE_CLONES: "1",
      ...env,
    });
    await this.prepared(`host ${hostId} of the drill's own is online`, async () => {
      const hosts = await askApi(this.bus, "hosts", {});
      return (
        hosts.ok &&
        hosts.value.data.some((one) => one.hostId === hostId && one.online && one.labels[LABEL] === this.#id)
      );
    });
    return host;
  }

  /** One more of the service, which leads: who leads is for the quality of decisions only. */
  async startLeader(service: "scheduler" | "status-tracker"): Promise<DrillService> {
    const started = this.#services.start(service, {});
    const leads = async () =>
      String((await entriesOf(this.bus, LEASES)).get(service)) === String(started.pid);
    let asked = Number.NEGATIVE_INFINITY;
    await this.prepared(`a ${service} of the drill's own leads`, async () => {
      if (await leads()) return true;
      // Whoever leads hears that it does no more, and the next to ask does.
      if (performance.now() - asked > LEASES.ttlMs) {
        await putEntry(this.bus, LEASES, service, undefined);
        asked = performance.now();
      }
      return false;
    });
    return started;
  }

  /** Kills as the user wishes, or else as is given; when it began, monotonic, and what was killed. */
  async kill(what: string, how: () => Promise<void>): Promise<{ atMs: number; killed: string }> {
    const { command, onProgress } = this.#options;
    const killed = command === undefined ? what : `what this kills: ${command}`;
    onProgress(`killing ${killed}`);
    const atMs = performance.now();
    if (command === undefined) await how();
    else
      await promisify(execFile)("/bin/sh", ["-c", command]).catch((error: unknown) => {
        throw new Failure(`--command did not work: ${messageOf(error)}`);
      });
    return { atMs, killed };
  }

  /** Longer than any fault may take to be mended. */
  get patienceMs(): number {
    return 2 * silenceMs(this.times) + PATIENCE_MS;
  }

  actsOf(taskId: string) {
    return actsOf(this.bus, taskId);
  }

  /** All that was said and done, once every task has come to its end. */
  async evidence(): Promise<Pick<Evidence, "facts" | "acts"> & { tasks: number }> {
    await this.end(this.#taskIds);
    const told = await Promise.all(this.#taskIds.map((taskId) => factsOfTask(this.bus, taskId)));
    const acts = await Promise.all(this.#taskIds.map((taskId) => actsOf(this.bus, taskId)));
    return { facts: told.flat(), acts: acts.flat(), tasks: this.#taskIds.length };
  }

  /** Cancels what has not ended of these, and waits for that; as long as makes sense where the bus is away. */
  async end(taskIds: string[]): Promise<void> {
    const deadline = performance.now() + this.patienceMs;
    const unended = async (taskId: string): Promise<boolean> => {
      const cancelled = await askApi(this.bus, "cancel", { taskId, reason: "the drill is over" });
      if (!cancelled.ok && cancelled.error.code === "unavailable") return true;
      return !isEnd(foldAll(await factsOfTask(this.bus, taskId)).state);
    };
    let left = taskIds;
    while (left.length > 0 && performance.now() < deadline) {
      const still = await Promise.all(left.map((taskId) => unended(taskId).catch(() => true)));
      left = left.filter((_, index) => still[index]);
      if (left.length > 0) await delay(POLL_MS * 4);
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#owned.disposeAsync();
  }
}

interface Own {
  source: DrillSource;
  times: LeaseTimes;
}
