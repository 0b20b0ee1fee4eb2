// The services as processes of their own, as a service manager runs them: what ends is started again. All of it has
// ended when the test has, attempts included.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { open } from "node:fs/promises";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { signalAll, treeOf } from "../../services/host-agent/guest/processes.ts";
import type { ServiceName } from "../../shared/contracts/service.ts";

const ROOT = path.resolve(import.meta.dirname, "../..");
const RESTART_MS = 200;
const STOP_MS = 20_000;

export interface ServiceProcess {
  readonly name: string;
  readonly service: ServiceName;
  /** Of the life that it has now; null between two. */
  pid(): number | null;
  /** Lives that have begun. */
  lives(): number;
  /** The process and everything below it, supervisors and attempts included. */
  tree(): number[];
  signal(signal: NodeJS.Signals): void;
  /** `kill -9`; resolves when it is gone. It is started again soon. */
  kill(): Promise<void>;
  /** It stays down for so long after it has ended, ms. */
  keepDown(ms: number): void;
  /** Its next lives have this in their environment too. */
  next(env: NodeJS.ProcessEnv): void;
}

export interface ServiceProcesses extends AsyncDisposable {
  start(service: ServiceName, env?: NodeJS.ProcessEnv, name?: string): ServiceProcess;
  /** Ends with an exit code other than 0 that no signal of ours explains. */
  readonly crashes: string[];
}

/** `env` is for all of them; what they log is in `services.log` of the folder. */
export async function startServiceProcesses(
  folder: string,
  env: NodeJS.ProcessEnv,
): Promise<ServiceProcesses> {
  const log = await open(path.join(folder, "services.log"), "a");
  const crashes: string[] = [];
  const living = new Set<ChildProcess>();
  const restarts = new Set<Promise<void>>();
  const ending = new AbortController();
  // What ends by a bug of its own disposes of nothing.
  const killAll = () => {
    for (const { pid } of living) if (pid !== undefined) signalAll(treeOf(pid), "SIGKILL");
  };
  process.once("exit", killAll);

  function start(service: ServiceName, own: NodeJS.ProcessEnv = {}, name: string = service): ServiceProcess {
    const main = path.join(ROOT, "services", service, "main.ts");
    const environment = { ...process.env, ...env, ...own };
    let child: ChildProcess | null = null;
    let signalled = false;
    let downUntilMs = 0;
    let lives = 0;
    const live = () => {
      signalled = false;
      lives++;
      const life = spawn(process.execPath, [main], {
        env: environment,
        stdio: ["ignore", log.fd, log.fd],
      });
      child = life;
      living.add(life);
      life.once("exit", (code, signal) => {
        living.delete(life);
        child = null;
        if (ending.signal.aborted) return;
        if (!signalled && code !== 0) crashes.push(`${name}: exit code ${code}, signal ${signal}`);
        const again = restart().finally(() => restarts.delete(again));
        restarts.add(again);
      });
    };
    const restart = async () => {
      do await delay(RESTART_MS);
      while (performance.now() < downUntilMs && !ending.signal.aborted);
      if (!ending.signal.aborted) live();
    };
    live();
    const signal = (name: NodeJS.Signals) => {
      signalled ||= name === "SIGKILL" || name === "SIGTERM";
      child?.kill(name);
    };
    return {
      name,
      service,
      pid: () => child?.pid ?? null,
      lives: () => lives,
      tree: () => (child?.pid === undefined ? [] : treeOf(child.pid)),
      signal,
      async kill() {
        const gone = child === null ? null : once(child, "exit");
        signal("SIGKILL");
        await gone;
      },
      keepDown: (ms) => {
        downUntilMs = performance.now() + ms;
      },
      next: (changes) => void Object.assign(environment, changes),
    };
  }

  return {
    start,
    crashes,
    async [Symbol.asyncDispose]() {
      ending.abort();
      await Promise.all(restarts);
      await Promise.all([...living].map(endProcess));
      process.off("exit", killAll);
      await log.close();
    },
  };
}

async function endProcess(child: ChildProcess): Promise<void> {
  const tree = child.pid === undefined ? [] : treeOf(child.pid);
  // One that a test has stopped hears nothing else.
  signalAll(tree, "SIGCONT");
  const gone = once(child, "exit");
  child.kill("SIGTERM");
  const force = setTimeout(() => signalAll(tree, "SIGKILL"), STOP_MS);
  await gone;
  clearTimeout(force);
}
