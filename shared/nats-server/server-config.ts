// The configuration file of a nats-server that we launch, as text. Pure. A secret belongs into this text alone and
// must never be put on a command line, where every user of the machine can read it.
import { isIPv4 } from "node:net";

/** How often JetStream's files are synced: "always" loses nothing on power failure, a period up to that much. */
export type SyncInterval = "always" | `${number}${"ms" | "s" | "m" | "h"}`;

export interface ServerConfig {
  readonly host: string;
  /** 0 for any free port. */
  readonly port: number;
  readonly token?: string | undefined;
  readonly syncInterval: SyncInterval;
  readonly storeDir: string;
  readonly logFile: string;
  readonly portsFileDir: string;
}

const mebibyte = 1024 * 1024;

/** Throws a RangeError on what cannot be said safely; see `objectionTo`. */
export function renderServerConfig(config: ServerConfig): string {
  const objection = objectionTo(config);
  if (objection !== undefined) throw new RangeError(objection);
  return [
    "# Written by agent-mesh at every start: changes made here are lost.",
    `server_name: "agent-mesh"`,
    `host: ${quoted(config.host)}`,
    `port: ${config.port === 0 ? -1 : config.port}`,
    `max_payload: ${mebibyte}`,
    `ports_file_dir: ${quoted(config.portsFileDir)}`,
    `log_file: ${quoted(config.logFile)}`,
    `logfile_size_limit: ${10 * mebibyte}`,
    "logfile_max_num: 3",
    `jetstream { store_dir: ${quoted(config.storeDir)}, sync_interval: ${quoted(config.syncInterval)} }`,
    ...(config.token === undefined ? [] : [`authorization { token: ${quoted(config.token)} }`]),
    "",
  ].join("\n");
}

/** Why a server may not be launched this way, in a sentence; undefined when it may. */
export function objectionTo({
  host,
  port,
  token,
}: Pick<ServerConfig, "host" | "port" | "token">): string | undefined {
  if (!isLoopback(host))
    return `a launched nats-server has no TLS, so it listens on loopback only, not on ${host}`;
  if (!Number.isInteger(port) || port < 0 || port > 65_535) return `${port} is no port`;
  if (token === undefined) return undefined;
  if (token === "") return "an empty token would let everybody in";
  if (/\p{Cc}/u.test(token)) return "a token may not contain control characters";
  // nats-server takes such a token for the hash of another one.
  if (/^\$2[abxy]\$/.test(token)) return "a token may not look like a bcrypt hash";
  return undefined;
}

function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || (isIPv4(host) && host.startsWith("127."));
}

/** nats-server's strings know `\"` and `\\`; control characters were refused, and paths hold none worth having. */
function quoted(text: string): string {
  return `"${text.replace(/[\\"]/g, "\\$&")}"`;
}
