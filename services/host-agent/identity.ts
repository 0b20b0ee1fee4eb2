// Who this host agent is: its id, the installation (its data folder, by a random name), and the number of its
// life. One data folder serves one agent at a time.
import { randomUUID } from "node:crypto";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import path from "node:path";
import {
  ConfigurationError,
  defaultDataDir,
  type Environment,
  SettingError,
} from "../../shared/config/environment.ts";
import { HostId } from "../../shared/contracts/ids.ts";
import { makeFolder } from "../../shared/process/make-folder.ts";
import { systemErrorCode } from "../../shared/process/system-error.ts";

/** In the data folder: the random name of the installation, and the lock of the agent that uses it. */
export const INSTALLATION_FILE = "installation";
export const HOST_LOCK = "host-agent.lock";

/** Where host agents may keep their data: in this folder itself, or, one or several, where `mesh up` keeps theirs below it. */
export async function dataFoldersBelow(dataDir: string): Promise<string[]> {
  const hosts = await readdir(path.join(dataDir, "hosts")).catch(() => []);
  return [dataDir, path.join(dataDir, "host"), ...hosts.map((name) => path.join(dataDir, "hosts", name))];
}

export interface Identity {
  installation: string;
  boot: number;
  dataDir: string;
}

export function chooseHostId(environment: Environment): string {
  if (environment.MESH_HOST_ID !== undefined) return environment.MESH_HOST_ID;
  const name = hostname()
    .split(".")[0]
    ?.toLowerCase()
    .replaceAll(/[^a-z0-9-]/g, "-")
    .replace(/^-+/, "");
  const id = HostId.safeParse(name);
  if (id.success) return id.data;
  throw new SettingError(
    `this machine's name makes no host id; set MESH_HOST_ID (${id.error.issues[0]?.message})`,
  );
}

export const hostDataDir = (environment: Environment): string =>
  path.resolve(environment.MESH_DATA_DIR ?? path.join(defaultDataDir(), "host"));

/** Reads the identity from the data folder, once `lock` has made it ours, and begins a new life. */
export async function readIdentity(
  environment: Environment,
  lock: (dataDir: string) => Promise<void>,
): Promise<Identity> {
  const dataDir = hostDataDir(environment);
  try {
    makeFolder(dataDir, 0o700);
  } catch (error) {
    if (systemErrorCode(error) === undefined) throw error;
    throw new ConfigurationError(`MESH_DATA_DIR: ${(error as Error).message}`);
  }
  await lock(dataDir);
  const installationFile = path.join(dataDir, INSTALLATION_FILE);
  const bootFile = path.join(dataDir, "boot");
  const installation = (await readText(installationFile)) ?? randomUUID();
  await writeFile(installationFile, installation, { flush: true });
  const boot = Number((await readText(bootFile)) ?? "0") + 1;
  if (!Number.isSafeInteger(boot))
    throw new ConfigurationError(
      `${bootFile} holds no number: it counts the lives of this host agent; put a larger number than ever before into it`,
    );
  await writeFile(bootFile, String(boot), { flush: true });
  return { installation, boot, dataDir };
}

const readText = async (file: string): Promise<string | null> => {
  const text = await readFile(file, "utf8").catch(() => "");
  return text.trim() === "" ? null : text.trim();
};
