// Every environment variable the mesh reads, with what it means: `.env.example` is checked against this list.
import { homedir } from "node:os";
import path from "node:path";
import { z } from "zod";
import { HostId } from "../contracts/ids.ts";
import { LEASE } from "../contracts/lease.ts";
import { NETWORKS, OwnersHosts } from "../contracts/network.ts";
import { flag, grace, labels, paths, size, syncInterval, when, whole } from "./text-values.ts";
import { ALWAYS } from "./when.ts";

const VARIABLES = {
  NATS_URL: z
    .string()
    .optional()
    .describe("the bus: nats://[token@]host:port or tls://…; without it `mesh up` starts its own"),
  NATS_CA_FILE: z.string().optional().describe("PEM file of the authority that signed the bus's certificate"),
  NATS_TOKEN: z
    .string()
    .optional()
    .describe("token of the bus that `nats.conf` and `docker-compose.yml` are given: a letter first, no #"),
  NATS_STORE_DIR: z.string().optional().describe("where the bus of `nats.conf` keeps the log"),
  NATS_TLS_CERT: z.string().optional().describe("PEM file of the certificate of the bus of `nats.conf`"),
  NATS_TLS_KEY: z.string().optional().describe("PEM file of that certificate's key"),
  NATS_SERVER_BIN: z
    .string()
    .optional()
    .describe("the nats-server program to start, instead of one found or fetched"),
  MESH_NATS_SYNC_INTERVAL: syncInterval
    .default("always")
    .describe(
      "how often `mesh up`'s own bus syncs its files: always, or a time such as 1s, which a power failure may lose",
    ),
  MESH_URL: z.string().optional().describe("where clients find the mesh: http(s)://… of its gateway"),
  MESH_DATA_DIR: z.string().optional().describe("data folder; ~/.local/share/agent-mesh if not given"),
  MESH_CONFIG: z
    .string()
    .optional()
    .describe(
      "the mesh's configuration file (TOML): what a webhook's task runs, what follows a failure, a host's settings and own agents",
    ),
  MESH_HTTP_PORT: whole(0, 65_535).default(7_400).describe("port of the gateway; 0 takes a free one"),
  MESH_GITHUB_WEBHOOK_SECRET: z
    .string()
    .optional()
    .describe("secret of the GitHub webhook; without it webhooks are refused"),
  MESH_HOST_ID: HostId.optional().describe("this machine's name in the mesh; its host name if not given"),
  MESH_HOST_SLOTS: whole(1, 1_000).default(2).describe("attempts this host runs at once"),
  MESH_HOST_LABELS: labels.default({}).describe("labels of this host, such as os=windows,gpu=yes"),
  MESH_HOST_UNTRUSTED: flag
    .default(false)
    .describe(
      "1: this host takes the work of strangers, pull requests from forks, if it keeps attempts in a sandbox",
    ),
  MESH_HOST_SANDBOX: flag
    .default(true)
    .describe("0: attempts see this machine, and as root may change it; then none is a stranger's"),
  MESH_HOST_CHECKPOINTS: flag
    .default(true)
    .describe(
      "0: nothing of a running agent's session is kept on the bus, and none is gone on with on this host",
    ),
  MESH_HOST_NETWORK: z
    .enum(NETWORKS)
    .default("open")
    .describe(
      "what attempts may reach at most: open (what this machine does), allowlist (MESH_HOST_ALLOWED_HOSTS alone) or none",
    ),
  MESH_HOST_ALLOWED_HOSTS: OwnersHosts.default([]).describe(
    "what attempts may reach that are kept to an allowlist, those of forks always: hosts such as example.com,*.example.com:8443, or addresses of this network, with commas between",
  ),
  MESH_HOST_WHEN: when
    .default(ALWAYS)
    .describe(
      "when this machine may begin work: always, or conditions joined by and/or, such as `ac and idle 15m or mon-fri 18:00-08:00`",
    ),
  MESH_HOST_GRACE: grace
    .default(null)
    .describe(
      "what becomes of work that runs when it may not begin any more: finish, or a duration, after which it is handed back to the mesh",
    ),
  MESH_HOST_PAUSE_DIR: z
    .string()
    .refine((folder) => path.isAbsolute(folder), "expected the full path of a folder")
    .optional()
    .describe(
      "folder in which `mesh host pause` is said by an owner who may not write to the data folder; a service on Windows has one",
    ),
  MESH_HOST_KEEP_MEMORY: size
    .default(0)
    .describe("memory of this machine that stays free for its owner, such as 8GB; none if not given"),
  MESH_HOST_TOOLS: paths
    .default([])
    .describe(
      "paths, with colons between, that attempts may read besides the system's programs and the folders on PATH",
    ),
  MESH_HOST_SECRETS: z
    .string()
    .optional()
    .describe(
      "file of the secrets that this host has for tasks (JSON, for its account alone), instead of secrets.json in its data folder",
    ),
  MESH_WSL_EXE: z
    .string()
    .optional()
    .describe("the program wsl.exe, instead of C:\\Program Files\\WSL\\wsl.exe"),
  MESH_HOST_INSTANCES: z
    .enum(["local", "wsl2"])
    .default("local")
    .describe("where attempts run: local (this machine, beside the host agent) or wsl2 (a distro of ours)"),
  MESH_HOST_ISOLATION: z
    .enum(["attempt", "distro"])
    .default("attempt")
    .describe(
      "with wsl2: attempt keeps attempts in a sandbox each, all in one distro; distro gives each a distro of its own, where it is root and which is made anew after it",
    ),
  MESH_HOST_MAX_INSTANCES: whole(1, 1_000)
    .optional()
    .describe(
      "instances there are at once, those that are being made or removed too; 5, or MESH_HOST_SLOTS if more",
    ),
  MESH_HOST_WARM: whole(0, 1_000)
    .optional()
    .describe(
      "instances kept ready beside those at work: all there may be, 1 where each is a distro; with 0 one is made when it is asked for",
    ),
  MESH_HOST_IDLE_MS: whole(1_000, 86_400_000)
    .default(300_000)
    .describe("an instance that is not kept ready goes after it was not used for so long, ms"),
  MESH_WSL_SHUTDOWN: flag
    .default(false)
    .describe(
      "1: this host may shut all of WSL down when nothing else helps, as after some sleeps, if all its distros are ours",
    ),
  MESH_CLAUDE_BIN: z
    .string()
    .optional()
    .describe("the program `claude` of this host's agents, instead of the one on PATH"),
  MESH_CLAUDE_VERSION: z.string().optional().describe("the only version of it that this host takes"),
  ANTHROPIC_API_KEY: z
    .string()
    .optional()
    .describe(
      "provider key of this host's agents: Claude Code is never given it, the host asks in its place; no output keeps it",
    ),
  ANTHROPIC_AUTH_TOKEN: z.string().optional().describe("the same, for a gateway that takes a bearer token"),
  ANTHROPIC_BASE_URL: z.string().optional().describe("where agents reach the provider, or a gateway to it"),
  MESH_CODEX_BIN: z
    .string()
    .optional()
    .describe("the program `codex` of this host's agents, instead of the one on PATH"),
  MESH_CODEX_VERSION: z.string().optional().describe("the only version of it that this host takes"),
  OPENAI_API_KEY: z.string().optional().describe("key of Codex's provider, as ANTHROPIC_API_KEY"),
  OPENAI_BASE_URL: z.string().optional().describe("where Codex reaches its provider, or a gateway to it"),
  MESH_ALLOW_FILE_CLONES: flag
    .default(false)
    .describe("1: this host clones file:// URLs (its own disk); `mesh up` sets it"),
  MESH_LEASE_MS: whole(500, 600_000)
    .default(LEASE.leaseMs)
    .describe("lease of a host, ms; the same everywhere in a mesh, its other times follow in proportion"),
  MESH_QUEUE_LIMIT: whole(1, 1_000_000)
    .default(200_000)
    .describe(
      "tasks of each priority that may be without an end (read by the status tracker); more are refused",
    ),
  MESH_CERTS_DIR: z
    .string()
    .optional()
    .describe("folder with cert.pem, key.pem and ca.pem for `docker-compose.yml`"),
  MESH_NATS_LISTEN: z
    .string()
    .optional()
    .describe("address on which the bus of `docker-compose.yml` is reached: 127.0.0.1 if not given"),
  MESH_LOG_LEVEL: z
    .enum(["trace", "debug", "info", "warn", "error", "silent"])
    .default("info")
    .describe("how much the services log"),
} satisfies Record<string, z.ZodType>;

export type EnvironmentName = keyof typeof VARIABLES;
export const ENVIRONMENT_NAMES = Object.keys(VARIABLES) as EnvironmentName[];
export const describeVariable = (name: EnvironmentName): string => VARIABLES[name].description ?? "";

/** Null if the text is one that the variable takes. */
export const problemOfVariable = (name: EnvironmentName, text: string): string | null =>
  VARIABLES[name]
    .safeParse(text)
    .error?.issues.map(({ message }) => message)
    .join("; ") ?? null;

const Environment = z.object(VARIABLES);
export type Environment = z.infer<typeof Environment>;

/** Thrown for a configuration nobody can run with; the message says what was expected. */
export class ConfigurationError extends Error {}

/** A variable, or a file of settings, that says what nobody understands: whoever wrote it has to correct it. */
export class SettingError extends ConfigurationError {}

/** Reads the variables; an empty one counts as not set. */
export function readEnvironment(env: NodeJS.ProcessEnv = process.env): Environment {
  const given = Object.fromEntries(
    ENVIRONMENT_NAMES.flatMap((name) =>
      env[name] === undefined || env[name] === "" ? [] : [[name, env[name]]],
    ),
  );
  const parsed = Environment.safeParse(given);
  if (parsed.success) return parsed.data;
  throw new SettingError(
    parsed.error.issues.map((issue) => `${issue.path.join(".")}: ${issue.message}`).join("; "),
  );
}

/** The data folder if none is named. */
export function defaultDataDir(env: NodeJS.ProcessEnv = process.env, platform = process.platform): string {
  if (platform === "win32")
    return path.win32.join(env.LOCALAPPDATA ?? path.win32.join(homedir(), "AppData", "Local"), "agent-mesh");
  if (platform === "darwin") return path.join(homedir(), "Library", "Application Support", "agent-mesh");
  return path.join(env.XDG_DATA_HOME ?? path.join(homedir(), ".local", "share"), "agent-mesh");
}

/** An open breaker waits so long for its first probe, ms: a host that went away is called lost well before. */
export const probeAfterMs = (leaseMs: number): number => 5 * leaseMs;

/** The times of the lease protocol, all in proportion to the lease, in whole ms as heartbeats carry them. */
export const leaseTimes = (leaseMs: number) => {
  const inProportion = (ms: number) => Math.round((ms * leaseMs) / LEASE.leaseMs);
  return {
    leaseMs,
    marginMs: inProportion(LEASE.marginMs),
    heartbeatMs: inProportion(LEASE.heartbeatMs),
    checkMs: inProportion(LEASE.checkMs),
    frozenLimitMs: LEASE.frozenLimitMs,
  };
};
