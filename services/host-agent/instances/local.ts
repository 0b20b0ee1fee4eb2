// The machine that the host agent itself runs on, as a place for instances: a supervisor beside it, and its own disk.
import path from "node:path";
import type { Logger } from "pino";
import type { Environment } from "../../../shared/config/environment.ts";
import { type LeaseTimes, silenceMs } from "../../../shared/contracts/lease.ts";
import { endFormerLife } from "../guest/former-life.ts";
import { programsHere } from "../runner/program.ts";
import { keepGuest } from "../supervisor/guest-keeper.ts";
import { localSupervisorCommand } from "../supervisor/supervisor-command.ts";
import { KEPT_FOLDER, keptWorkspaces, SWEEP_MS } from "../workspace/kept-workspaces.ts";
import { removeTree } from "../workspace/tree.ts";
import { localWorkspaces } from "../workspace/workspaces.ts";
import { type Machine, type MachineSource, sharedMachine } from "./machine.ts";

export interface LocalOptions {
  dataDir: string;
  environment: Environment;
  /** What its sandboxes show besides what the environment names. */
  tools: string[];
  times: LeaseTimes;
  log: Logger;
}

export function localMachine(options: LocalOptions): MachineSource {
  const stateDir = path.join(options.dataDir, "supervisor");
  return sharedMachine(
    () => start(options, stateDir),
    async () => {
      const { ended } = await endFormerLife(stateDir);
      if (ended > 0) options.log.warn({ ended }, "ended what a former life of this host agent had left");
    },
  );
}

async function start(options: LocalOptions, stateDir: string): Promise<Machine> {
  const { dataDir, environment, times, log } = options;
  const kept = keptWorkspaces(path.join(dataDir, KEPT_FOLDER));
  const attemptsFolder = path.join(dataDir, "attempts");
  await removeTree(attemptsFolder);
  const workspaces = await localWorkspaces({
    cacheDir: path.join(dataDir, "cache"),
    dependenciesFolder: path.join(dataDir, "dependencies"),
    attemptsFolder,
    kept,
    allowFileClones: environment.MESH_ALLOW_FILE_CLONES,
  });
  const command = localSupervisorCommand({
    stateDir,
    leaseMs: times.leaseMs,
    checkMs: times.checkMs,
    frozenLimitMs: times.frozenLimitMs,
    sandbox: environment.MESH_HOST_SANDBOX,
    tools: [
      ...environment.MESH_HOST_TOOLS,
      ...[environment.MESH_CLAUDE_BIN, environment.MESH_CODEX_BIN].filter((file) => file !== undefined),
      ...options.tools,
    ],
  });
  const guest = await keepGuest({
    command: async () => command,
    silenceMs: silenceMs(times),
    endFormerLife: () => endFormerLife(stateDir),
    log,
  });
  const sweep = () =>
    void kept.sweep().catch((error: unknown) => log.error({ error }, "kept workspaces could not be swept"));
  sweep();
  const sweeping = setInterval(sweep, SWEEP_MS);
  return {
    guest,
    workspaces,
    isWorkRoot: false,
    environment: process.env,
    programs: programsHere(process.env.PATH ?? ""),
    async [Symbol.asyncDispose]() {
      clearInterval(sweeping);
      await guest[Symbol.asyncDispose]();
    },
  };
}
