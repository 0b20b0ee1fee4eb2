// Services that a drill starts as processes of its own on the mesh's bus, so that it can kill one without harm to
// anybody's work. They end with the drill, however that ends.
import { mkdtemp, open, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { spawnLeashed } from "../../../shared/nats-server/leash.ts";
import { ownProgram } from "../../../shared/process/own-program.ts";

export interface DrillService {
  pid: number;
  /** As `kill -9`; resolves when it is gone. */
  kill(): Promise<void>;
}

export interface DrillServices extends AsyncDisposable {
  folder: string;
  start(service: string, env: NodeJS.ProcessEnv): DrillService;
  /** The last of what they said. */
  tail(): Promise<string>;
}

const STOP_MS = 12_000;

/** `env` is for all of them, beside what this process has. */
export async function drillServices(env: NodeJS.ProcessEnv): Promise<DrillServices> {
  const folder = await mkdtemp(path.join(tmpdir(), "mesh-drill-"));
  const logFile = path.join(folder, "services.log");
  const log = await open(logFile, "a", 0o600);
  const living = new Map<number, { gone: Promise<void> }>();
  return {
    folder,
    start(service, own) {
      const [program, ...args] = ownProgram(`services/${service}/main.ts`);
      const all = { ...process.env, ...env, ...own };
      const { child, letGo } = spawnLeashed(program, args, log.fd, all);
      const { pid } = child;
      if (pid === undefined) throw new Error(`${service} could not be started`);
      const gone = new Promise<void>((resolve) => {
        child.once("exit", () => {
          living.delete(pid);
          letGo();
          resolve();
        });
      });
      living.set(pid, { gone });
      return {
        pid,
        async kill() {
          process.kill(pid, "SIGKILL");
          await gone;
        },
      };
    },
    tail: async () => (await readFile(logFile, "utf8")).trimEnd().split("\n").slice(-8).join("\n"),
    async [Symbol.asyncDispose]() {
      const all = [...living];
      for (const [pid] of all) process.kill(pid, "SIGTERM");
      const every = Promise.all(all.map(([, { gone }]) => gone));
      await Promise.race([every, delay(STOP_MS, undefined, { ref: false })]);
      for (const [pid] of living) process.kill(pid, "SIGKILL");
      await every;
      await log.close();
      await rm(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 200 });
    },
  };
}
