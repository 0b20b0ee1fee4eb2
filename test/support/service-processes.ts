// The services as processes of their own, as a service manager runs them: what dies is started again. All of it has
// ended when the test has, attempts included.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { open } from "node:fs/promises";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { signalAll, treeOf } from "../../services/host-agent/guest/processes.ts";

const ROOT = path.resolve(import.meta.dirname, "../..");
const RESTART_MS = 200;
const STOP_MS = 20_000;

export interface ServiceProcess {
  /** Of the life that it has now. */
  pid(): number;
  /** `kill -9`; resolves when it is gone. It is started again soon. */
  kill(): Promise<void>;
  signal(signal: NodeJS.Signals): void;
}

export interface ServiceProcesses extends AsyncDisposable {
  start(service: string, env?: NodeJS.ProcessEnv): ServiceProcess;
  /** Ends that nobody has asked for, and their exit codes. */
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
  let ending = false;

  function start(service: string, own: NodeJS.ProcessEnv = {}): ServiceProcess {
    const main = path.join(ROOT, "services", service, "main.ts");
    let child: ChildProcess;
    let killed = false;
    const live = () => {
      killed = false;
      child = spawn(process.execPath, [main], {
        env: { ...process.env, ...env, ...own },
        stdio: ["ignore", log.fd, log.fd],
      });
      const life = child;
      living.add(life);
      life.once("exit", (code, signal) => {
        living.delete(life);
        if (ending) return;
        if (!killed) crashes.push(`${service}: exit code ${code}, signal ${signal}`);
        const restart = delay(RESTART_MS).then(() => {
          if (!ending) live();
          restarts.delete(restart);
        });
        restarts.add(restart);
      });
    };
    live();
    return {
      pid: () => child.pid ?? 0,
      async kill() {
        killed = true;
        const gone = once(child, "exit");
        child.kill("SIGKILL");
        await gone;
      },
      signal: (signal) => void child.kill(signal),
    };
  }

  return {
    start,
    crashes,
    async [Symbol.asyncDispose]() {
      ending = true;
      await Promise.all(restarts);
      await Promise.all([...living].map(endProcess));
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
