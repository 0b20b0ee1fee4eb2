// All checks of this machine, group by group and at once. A group that cannot look is a finding itself; none can hang or
// end the others.

import { statSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { totalmem } from "node:os";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { defaultDataDir, type Environment } from "../../../shared/config/environment.ts";
import { GOLDEN_DISTRO } from "../../host-agent/wsl/distro-layout.ts";
import { wslConfigFile } from "../../host-agent/wsl/wslconfig.ts";
import { messageOf } from "../outcome.ts";
import { judgeAgents, judgeAgentsInside, readAgents } from "./agents.ts";
import { judgeBus, readBus } from "./bus.ts";
import { type Finding, fail } from "./finding.ts";
import { judgeGit, readGit } from "./git.ts";
import { judgeIsolation, readIsolation } from "./isolation.ts";
import { judgeMachine, judgeSettings, readMachine } from "./machine.ts";
import { judgePause, readPauseFolder } from "./pause.ts";
import { judgeSecrets, readSecrets } from "./secrets.ts";
import { judgeWindows, readWindows, type WindowsReading } from "./windows.ts";
import { judgeGrowth, judgeWsl } from "./wsl.ts";
import { readWsl } from "./wsl-reading.ts";
import { judgeWslConfig } from "./wslconfig.ts";

export interface Group {
  name: string;
  findings: Finding[];
}

/** A group that has not ended by then is given up, ms. */
const GROUP_MS = 45_000;

/** `settings`: the file that `env` comes from, if one does. */
export async function examine(
  environment: Environment,
  env: NodeJS.ProcessEnv,
  settings?: string,
): Promise<Group[]> {
  const dataDir = environment.MESH_DATA_DIR ?? path.join(defaultDataDir(env), "host");
  const slots = environment.MESH_HOST_SLOTS;
  const windows = readWindows();
  windows.catch(() => {});
  const groups: Record<string, () => Promise<Finding[]>> = {
    machine: async () => [
      ...judgeMachine(await readMachine(dataDir, slots)),
      // A service's account only reads what is said to it.
      ...((await sessionOf(windows)) === 0 ? [] : judgePause(await readPauseFolder(environment))),
      ...(settings === undefined || process.platform === "win32"
        ? []
        : judgeSettings(settings, statSync(settings).mode)),
    ],
    git: async () =>
      judgeGit(
        await readGit(
          await windows.then(
            (found) => found?.longPaths ?? null,
            () => null,
          ),
        ),
      ),
    bus: async () => judgeBus(await readBus(environment, env)),
  };
  // PowerShell may fail where WSL does not.
  if (process.platform === "win32")
    groups.windows = async () => {
      const found = await windows;
      return found === null ? [] : judgeWindows(found);
    };
  if (process.platform === "win32" || environment.MESH_WSL_EXE !== undefined)
    groups.wsl = async () => {
      const [wsl, found, config] = await Promise.all([
        readWsl(environment.MESH_WSL_EXE),
        windows.catch(() => null),
        readFile(wslConfigFile(env)).catch(() => null),
      ]);
      const guest = "failure" in wsl || wsl.guest === null || "failure" in wsl.guest ? null : wsl.guest;
      const disk = found?.disks.find(({ distro }) => distro === GOLDEN_DISTRO);
      return [
        ...judgeWsl(wsl),
        ...judgeWslConfig({
          bytes: config,
          memoryBytes: totalmem(),
          slots,
          pressure: guest?.pressure ?? null,
        }),
        ...(guest === null ? [] : judgeAgentsInside(guest.agents, environment)),
        ...(guest && disk?.bytes ? judgeGrowth(disk.file, disk.bytes, guest.disk.usedBytes) : []),
      ];
    };
  if (process.platform !== "win32") {
    const isolation = readIsolation(environment, dataDir);
    isolation.catch(() => {});
    groups.isolation = async () => judgeIsolation(await isolation);
    groups.agents = async () => judgeAgents(await readAgents(environment, (await isolation).isolation));
    groups.secrets = async () =>
      judgeSecrets(await readSecrets(environment, dataDir), (await isolation).isolation);
  } else groups.secrets = async () => judgeSecrets(await readSecrets(environment, dataDir), null);
  return Promise.all(
    Object.entries(groups).map(async ([name, look]) => ({ name, findings: await within(name, look) })),
  );
}

const sessionOf = (windows: Promise<WindowsReading | null>): Promise<number | null> =>
  windows.then(
    (found) => found?.session ?? null,
    () => null,
  );

async function within(name: string, look: () => Promise<Finding[]>): Promise<Finding[]> {
  const given = new AbortController();
  const late = delay(GROUP_MS, null, { signal: given.signal }).catch(() => null);
  try {
    const findings = await Promise.race([look(), late]);
    return (
      findings ?? [
        fail(name, `nothing came of looking at it within ${GROUP_MS / 1_000} s`, "look at it by hand"),
      ]
    );
  } catch (error) {
    return [
      fail(name, `it cannot be looked at: ${messageOf(error)}`, "correct that, and run `mesh doctor` again"),
    ];
  } finally {
    given.abort();
  }
}
