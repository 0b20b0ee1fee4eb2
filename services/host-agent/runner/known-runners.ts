// The runners that this host knows of: looked for once its instances are there, and again in each that is opened later,
// since programs come and go there.
import { setTimeout as delay } from "node:timers/promises";
import type { Logger } from "pino";
import type { AgentPrograms } from "../../../shared/config/agent-programs.ts";
import type { Environment } from "../../../shared/config/environment.ts";
import type { Instances } from "../instances/instances.ts";
import type { Machine } from "../instances/machine.ts";
import { commandRunner } from "./command.ts";
import { findRunners } from "./here.ts";

type Found = Awaited<ReturnType<typeof findRunners>>;

export interface KnownRunnersOptions {
  environment: Environment;
  programs: AgentPrograms;
  instances: Pick<Instances, "first" | "machines" | "onOpened">;
  /** It has secrets of tasks, which what runs in no sandbox could read. */
  hasSecrets(): boolean;
  log: Logger;
}

const LOOK_AGAIN_MS = 2_000;

/** Resolves once they have been looked for, where instances are on this very machine; elsewhere at once. */
export async function knowRunners(options: KnownRunnersOptions): Promise<() => Found> {
  const { environment, programs, instances, log } = options;
  let found: Found = { runners: [commandRunner], versions: {}, unusable: [] };
  const find = async (machine: Machine) => {
    const isolation = machine.guest.hello()?.isolation;
    if (options.hasSecrets() && isolation !== "sandbox")
      log.warn("attempts are in no sandbox: whatever runs here could read all of this host's secrets");
    found = await findRunners(environment, programs, isolation, machine.programs, log);
  };
  if (environment.MESH_HOST_INSTANCES === "local") await find(await instances.first);
  else
    instances.onOpened(async (machine) => {
      while (instances.machines().includes(machine))
        try {
          return await find(machine);
        } catch (error) {
          // Its supervisor has died meanwhile: there will be another.
          log.warn(error, "runners could not be looked for");
          await delay(LOOK_AGAIN_MS);
        }
    });
  return () => found;
}
