// What somebody who installs the service on a machine wants, from their flags and environment. It must never be shown
// before its secrets are taken out.
import { randomBytes } from "node:crypto";
import { access, constants, readFile, stat } from "node:fs/promises";
import { homedir, userInfo } from "node:os";
import path from "node:path";
import { isSea } from "node:sea";
import { connectionTarget } from "../../../shared/bus/connect.ts";
import { ENVIRONMENT_NAMES, type EnvironmentName } from "../../../shared/config/environment.ts";
import { readMeshConfig, readSettings } from "../../../shared/config/mesh-config.ts";
import { chooseHostId } from "../../host-agent/identity.ts";
import { messageOf, UsageError } from "../outcome.ts";
import type { Machine, Platform, Wanted } from "./plan.ts";

export interface WantedFlags {
  account?: string;
  passwordFile?: string;
  winsw?: string;
  image?: string;
}

const IMAGE = /\.tar(\.gz|\.xz)?$/;

/** Settings of a mesh that are not its hosts', or that the service sets itself. */
const NOT_OF_HOSTS = new Set<EnvironmentName>([
  "MESH_CERTS_DIR",
  "MESH_DATA_DIR",
  "MESH_GITHUB_WEBHOOK_SECRET",
  "MESH_HTTP_PORT",
  "MESH_NATS_LISTEN",
  "MESH_NATS_SYNC_INTERVAL",
  "MESH_QUEUE_LIMIT",
  "MESH_URL",
  "NATS_SERVER_BIN",
  "NATS_STORE_DIR",
  "NATS_TLS_CERT",
  "NATS_TLS_KEY",
  "NATS_TOKEN",
]);

/** The supervisor does not run on Windows itself. */
const IN_WSL2 = { MESH_HOST_INSTANCES: "wsl2" } satisfies Partial<Record<EnvironmentName, string>>;

/** Throws a `UsageError` or `SettingError`. */
export async function wantedOf(platform: Platform, flags: WantedFlags, env = process.env): Promise<Wanted> {
  const { account, passwordFile, winsw, image } = flags;
  if (platform !== "win32" && (passwordFile ?? winsw ?? image) !== undefined)
    throw new UsageError("--winsw, --image and --password-file are for Windows");
  if (image !== undefined && !IMAGE.test(image))
    throw new UsageError("--image: expected a .tar, .tar.gz or .tar.xz, as `mesh host image build` makes it");
  if (platform === "darwin" && account !== undefined)
    throw new UsageError("--account: on macOS the agent runs as whoever installs it");
  if (platform === "win32" && (account === undefined) !== (passwordFile === undefined))
    throw new UsageError(
      "--account and --password-file go together: Windows asks for the account's password",
    );
  const settings = await readSettings(env);
  const hostId = chooseHostId(settings);
  const { runners } = await readMeshConfig(settings.MESH_CONFIG);
  const names: string[] = ENVIRONMENT_NAMES.filter((name) => !NOT_OF_HOSTS.has(name));
  const ofAgents = Object.values(runners).flatMap(({ secrets }) => secrets);
  const named = [...new Set([...names, ...ofAgents])].filter((name) => env[name]);
  const environment: Record<string, string> = Object.fromEntries(
    named.map((name) => [name, env[name] ?? ""]),
  );
  for (const name of ["NATS_CA_FILE", "MESH_CONFIG"] as const) {
    const file = settings[name];
    if (file !== undefined) environment[name] = await fileOf(name, file, platform);
  }
  // What the service could not begin with is said before anything is changed.
  if (settings.NATS_URL !== undefined) refuseUnlessAddress(settings.NATS_URL);
  if (settings.MESH_HOST_SECRETS !== undefined)
    environment.MESH_HOST_SECRETS = path.resolve(settings.MESH_HOST_SECRETS);
  return {
    platform,
    hostId,
    program: programFor(platform),
    account: account ?? null,
    password: passwordFile === undefined ? randomPassword() : await passwordIn(passwordFile),
    environment: { ...(platform === "win32" ? IN_WSL2 : {}), ...environment, MESH_HOST_ID: hostId },
    winsw: winsw === undefined ? null : await fileOf("--winsw", winsw, platform),
    image: image === undefined ? null : await fileOf("--image", image, platform),
    machine: machineOf(platform, env),
  };
}

function refuseUnlessAddress(url: string): void {
  try {
    connectionTarget(url);
  } catch (error) {
    throw new UsageError(`NATS_URL: ${messageOf(error)}`);
  }
}

/** Its full path. Whether it is there can be told on the machine that it is for alone. */
async function fileOf(what: string, file: string, platform: Platform): Promise<string> {
  if (file === "") throw new UsageError(`${what}: expected a file`);
  if (platform !== process.platform) {
    const { isAbsolute } = platform === "win32" ? path.win32 : path.posix;
    return isAbsolute(file) ? file : path.resolve(file);
  }
  const full = path.resolve(file);
  const isFile = await stat(full).then(
    (found) => found.isFile(),
    () => false,
  );
  if (!isFile) throw new UsageError(`${what}: there is no file ${full}`);
  await access(full, constants.R_OK).catch(() => {
    throw new UsageError(`${what}: ${full} cannot be read`);
  });
  return full;
}

/** Another platform's program is the single file that `mesh host package` makes. */
function programFor(platform: Platform): Wanted["program"] {
  if (isSea()) return { kind: "single-file", file: process.execPath };
  if (platform !== process.platform)
    return { kind: "single-file", file: platform === "win32" ? "mesh.exe" : "mesh" };
  const main = path.resolve(import.meta.dirname, "../main.ts");
  return { kind: "checkout", node: process.execPath, main };
}

export function machineOf(platform: Platform, env = process.env): Machine {
  const here = platform === process.platform;
  return {
    home: here ? homedir() : `/Users/${userInfo().username}`,
    uid: here ? userInfo().uid : 501,
    programFiles: (here && env.ProgramFiles) || "C:\\Program Files",
    programData: (here && env.ProgramData) || "C:\\ProgramData",
  };
}

/** Of all the kinds of characters that a policy may ask for. */
const randomPassword = (): string => `aA1-${randomBytes(24).toString("base64url")}`;

async function passwordIn(file: string): Promise<string> {
  const text = await readFile(file, "utf8").catch((error: Error) => {
    throw new UsageError(`--password-file: ${error.message}`);
  });
  const password = text.replace(/\r?\n$/, "");
  if (password === "" || /[\u0000-\u001f]/.test(password))
    throw new UsageError(`--password-file: expected one line in ${file}`);
  return password;
}
