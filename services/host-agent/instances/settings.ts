// What instances this host keeps, and where, by its owner's settings.
import path from "node:path";
import type { Logger } from "pino";
import { ConfigurationError, type Environment } from "../../../shared/config/environment.ts";
import type { LeaseTimes } from "../../../shared/contracts/lease.ts";
import { findWsl } from "../wsl/find-wsl.ts";
import { createWsl } from "../wsl/wsl.ts";
import { copiedDistros, goldenDistro } from "../wsl/wsl-machines.ts";
import type { InstanceRules } from "./life.ts";
import { localMachine } from "./local.ts";
import type { MachineSource } from "./machine.ts";

/** At least, whatever the host's slots. */
const MOST = 5;
/** A supervisor that died is there again within seconds; one that is not has to be made anew. */
const SILENCE_MS = 30_000;

export function instanceRules(environment: Environment): InstanceRules {
  const { MESH_HOST_SLOTS, MESH_HOST_MAX_INSTANCES, MESH_HOST_WARM, MESH_HOST_IDLE_MS } = environment;
  const most = MESH_HOST_MAX_INSTANCES ?? Math.max(MOST, MESH_HOST_SLOTS);
  const isDistroEach = environment.MESH_HOST_ISOLATION === "distro";
  return {
    most,
    warm: Math.min(most, MESH_HOST_WARM ?? (isDistroEach ? 1 : most)),
    idleMs: MESH_HOST_IDLE_MS,
    // What was root in a distro may have changed all of it; in a sandbox nothing outlives its attempt.
    tasksEach: isDistroEach ? 1 : Number.POSITIVE_INFINITY,
    silenceMs: SILENCE_MS,
  };
}

export async function machinesOf(options: {
  dataDir: string;
  installation: string;
  environment: Environment;
  /** Of runners that the configuration names: their programs' paths. */
  tools: string[];
  times: LeaseTimes;
  log: Logger;
}): Promise<MachineSource> {
  const { dataDir, installation, environment, times, log } = options;
  const { MESH_HOST_INSTANCES, MESH_HOST_ISOLATION } = environment;
  const isDistroEach = MESH_HOST_ISOLATION === "distro";
  if (MESH_HOST_INSTANCES === "local") {
    if (isDistroEach)
      throw new ConfigurationError("MESH_HOST_ISOLATION: distro takes MESH_HOST_INSTANCES=wsl2");
    return localMachine(options);
  }
  const found = await findWsl(environment.MESH_WSL_EXE);
  if (!found.ok) throw new ConfigurationError(found.failure.message);
  const agents = [environment.MESH_CLAUDE_BIN, environment.MESH_CODEX_BIN];
  const distros = {
    wsl: createWsl(found.value),
    installation,
    times,
    sandbox: environment.MESH_HOST_SANDBOX && !isDistroEach,
    isWorkRoot: isDistroEach,
    tools: [...options.tools, ...environment.MESH_HOST_TOOLS, ...agents.filter((file) => file !== undefined)],
    allowFileClones: environment.MESH_ALLOW_FILE_CLONES,
    ending: new Map<string, Promise<unknown>>(),
    mayShutDown: environment.MESH_WSL_SHUTDOWN,
    log,
  };
  return isDistroEach
    ? copiedDistros({ ...distros, folder: path.join(dataDir, "distros") })
    : goldenDistro(distros);
}
