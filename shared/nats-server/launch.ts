// Launches a nats-server on a data folder of its own and holds it: loopback only, at most one per folder. It must
// never outlive this process, and the token must never appear on a command line.
import { chmod, open, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { type FolderLock, lockFolder } from "../process/folder-lock.ts";
import { makeFolder } from "../process/make-folder.ts";
import { isPortBusy } from "./busy-port.ts";
import { type LeashedProcess, spawnLeashed } from "./leash.ts";
import { untilReady } from "./readiness.ts";
import { isRecentEnough, refusal } from "./requirements.ts";
import { objectionTo, renderServerConfig, type SyncInterval } from "./server-config.ts";

export interface LaunchOptions {
  /** As `locateNatsServer` found it. */
  readonly program: string;
  /** Holds the configuration, the log and JetStream's store; only its owner may look into it. */
  readonly dataDir: string;
  /** 0 for any free port. */
  readonly port: number;
  readonly host?: string;
  readonly token?: string | undefined;
  readonly syncInterval: SyncInterval;
  /** Ends the launch, not a server that is up. */
  readonly signal?: AbortSignal | undefined;
}

interface ServerExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** Disposing ends it: SIGTERM, and SIGKILL after five seconds. */
export interface NatsServer extends AsyncDisposable {
  /** `nats://[token@]host:port`. The JavaScript client ignores the token in it: give it to `connect` as well. */
  readonly url: string;
  readonly port: number;
  readonly pid: number;
  readonly version: string;
  /** Never rejects. Once it has resolved, the data folder may be launched on again. */
  readonly exited: Promise<ServerExit>;
}

export type LaunchFailure = "bad_option" | "already_running" | "port_busy" | "died" | "not_ready" | "too_old";

export class NatsServerNotStarted extends Error {
  override readonly name = "NatsServerNotStarted";
  readonly code: LaunchFailure;
  constructor(code: LaunchFailure, message: string) {
    super(message);
    this.code = code;
  }
}

const readyTimeoutMs = 30_000;
const killAfterMs = 5_000;
const loopback = "127.0.0.1";

export async function launchNatsServer(options: LaunchOptions): Promise<NatsServer> {
  const { host = loopback, port, token, signal } = options;
  signal?.throwIfAborted();
  const objection = objectionTo({ host, port, token });
  if (objection !== undefined) throw new NatsServerNotStarted("bad_option", objection);
  const dataDir = resolve(options.dataDir);
  makeFolder(dataDir, 0o700);
  await chmod(dataDir, 0o700);
  const outcome = await lockFolder(dataDir, "nats-server.lock");
  if (!outcome.ok) {
    throw new NatsServerNotStarted(
      "already_running",
      `A nats-server already runs on ${dataDir} (process ${outcome.heldBy}, says ${outcome.file}). ` +
        "Two on one folder would ruin its store: stop that one first, or use another folder.",
    );
  }
  try {
    if (port !== 0 && (await isPortBusy(host, port))) {
      throw new NatsServerNotStarted(
        "port_busy",
        `Port ${port} on ${host} is in use by another program. Stop that one, or choose another port.`,
      );
    }
    return await launchLocked({ ...options, host, dataDir }, outcome.lock);
  } catch (error) {
    await outcome.lock.release();
    throw error;
  }
}

async function launchLocked(
  options: LaunchOptions & { host: string },
  lock: FolderLock,
): Promise<NatsServer> {
  const { program, dataDir, host, port, token, syncInterval, signal } = options;
  const logFile = join(dataDir, "nats-server.log");
  const storeDir = join(dataDir, "jetstream");
  const config = renderServerConfig({
    host,
    port,
    token,
    syncInterval,
    storeDir,
    logFile,
    portsFileDir: dataDir,
  });
  const configFile = join(dataDir, "nats-server.conf");
  await removeLeftovers(dataDir, configFile);
  await writeFile(configFile, config, { mode: 0o600, flag: "wx" });

  await using log = await open(logFile, "a", 0o600);
  const logStart = (await log.stat()).size;
  const leashed = spawnLeashed(program, ["-c", configFile], log.fd);
  const { child } = leashed;
  const pid = child.pid;
  if (pid === undefined) {
    const error = await new Promise<Error>((resolve) => child.once("error", resolve));
    throw new NatsServerNotStarted("died", `${program} could not be started: ${error.message}`);
  }
  const exited = whenExited(leashed, lock);
  const stop = stopper(leashed, exited);
  try {
    await lock.handTo(pid);
    const ready = await readyOrDead({ dataDir, pid, host, exited, signal });
    if (!isRecentEnough(ready.version)) throw new NatsServerNotStarted("too_old", refusal(ready.version));
    return { ...ready, url: serverUrl(host, ready.port, token), pid, exited, [Symbol.asyncDispose]: stop };
  } catch (error) {
    await stop();
    signal?.throwIfAborted();
    if (!(error instanceof NatsServerNotStarted)) throw error;
    throw new NatsServerNotStarted(error.code, `${error.message}${await logTail(logFile, logStart)}`);
  }
}

interface Waiting {
  readonly dataDir: string;
  readonly pid: number;
  readonly host: string;
  readonly exited: Promise<ServerExit>;
  readonly signal: AbortSignal | undefined;
}

async function readyOrDead({ exited, signal, ...launched }: Waiting) {
  const over = new AbortController();
  const deadline = AbortSignal.timeout(readyTimeoutMs);
  const signals = [over.signal, deadline, ...(signal === undefined ? [] : [signal])];
  const died = exited.then(({ code, signal: by }) => {
    throw new NatsServerNotStarted("died", `nats-server ended at once (${by ?? `exit code ${code}`}).`);
  });
  try {
    return await Promise.race([untilReady({ ...launched, signal: AbortSignal.any(signals) }), died]);
  } catch (error) {
    if (!deadline.aborted || error instanceof NatsServerNotStarted) throw error;
    throw new NatsServerNotStarted(
      "not_ready",
      `nats-server was not ready within ${readyTimeoutMs / 1_000} s.`,
    );
  } finally {
    over.abort();
  }
}

async function whenExited({ child, letGo }: LeashedProcess, lock: FolderLock): Promise<ServerExit> {
  const exit = await new Promise<ServerExit>((resolve) => {
    child.once("exit", (code, signal) => resolve({ code, signal }));
  });
  letGo();
  await lock.release();
  return exit;
}

function stopper({ child }: LeashedProcess, exited: Promise<ServerExit>): () => Promise<void> {
  let stopping: Promise<void> | undefined;
  const stop = async () => {
    child.kill("SIGTERM");
    const force = setTimeout(() => child.kill("SIGKILL"), killAfterMs);
    await exited;
    clearTimeout(force);
  };
  return () => (stopping ??= stop());
}

/** Port files of processes that were killed: a later process may be given the id of one of them. */
async function removeLeftovers(dataDir: string, configFile: string): Promise<void> {
  const ports = (await readdir(dataDir)).filter((file) => file.endsWith(".ports"));
  for (const file of [configFile, ...ports.map((name) => join(dataDir, name))])
    await rm(file, { force: true });
}

async function logTail(logFile: string, start: number): Promise<string> {
  const said = (await readFile(logFile)).subarray(start).toString("utf8").trim();
  return said === "" ? "" : `\nIt said:\n${said.split("\n").slice(-12).join("\n")}`;
}

function serverUrl(host: string, port: number, token: string | undefined): string {
  const credentials = token === undefined ? "" : `${encodeURIComponent(token)}@`;
  return `nats://${credentials}${host.includes(":") ? `[${host}]` : host}:${port}`;
}
