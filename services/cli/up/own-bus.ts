// The nats-server that a mesh starts for itself: found or fetched, on loopback, guarded by a token that is kept in the
// data folder from run to run. It must never print the token.
import { randomBytes } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { ConfigurationError } from "../../../shared/config/environment.ts";
import {
  launchNatsServer,
  type NatsServer,
  NatsServerNotStarted,
} from "../../../shared/nats-server/launch.ts";
import { locateNatsServer } from "../../../shared/nats-server/locate.ts";
import type { SyncInterval } from "../../../shared/nats-server/server-config.ts";
import { messageOf } from "../outcome.ts";

export interface OwnBus extends AsyncDisposable {
  /** Carries the token. */
  url: string;
  /** Of its first life. */
  pid: number;
  /** Resolves with words when it ends without having been told to, and does not live once it is started again. */
  died: Promise<string>;
}

export interface OwnBusOptions {
  dataDir: string;
  port: number;
  syncInterval: SyncInterval;
  env: NodeJS.ProcessEnv;
  onProgress: (text: string) => void;
  /** It ended unasked, and is started again with its data. */
  onRestart?: (reason: string) => void;
  signal?: AbortSignal | undefined;
}

/** A nats-server whose mesh was killed takes so long to go at most, ms. */
const ORPHAN_MS = 10_000;
const PAUSE_MS = 200;
/** One that was started again and ends within this is given up, ms. */
const SHORT_LIFE_MS = 10_000;

export async function startOwnBus(options: OwnBusOptions): Promise<OwnBus> {
  const { dataDir, env, onProgress, onRestart, signal } = options;
  const { path: program } = await locateNatsServer({ env, onProgress, signal });
  const token = await keptToken(path.join(dataDir, "token"));
  const natsDir = path.join(dataDir, "nats");
  const launch = (port: number) => launchPatiently({ ...options, program, token, natsDir, port });
  let life = launch(options.port);
  const { url, pid, port } = await life;
  let stopping = false;
  const died = (async () => {
    for (let sinceMs = Number.NEGATIVE_INFINITY; ; ) {
      const { code, signal: by } = await (await life).exited;
      if (stopping) return new Promise<never>(() => {});
      const words = `nats-server ended unasked (${by ?? `exit code ${code}`}); its log is ${path.join(natsDir, "nats-server.log")}`;
      if (performance.now() - sinceMs < SHORT_LIFE_MS) return words;
      onRestart?.(`${words}; starting it again`);
      sinceMs = performance.now();
      life = launch(port);
      try {
        await life;
      } catch (error) {
        return `${words}; it cannot be started again: ${messageOf(error)}`;
      }
    }
  })();
  return {
    url,
    pid,
    died,
    async [Symbol.asyncDispose]() {
      stopping = true;
      const server = await life.catch(() => null);
      await server?.[Symbol.asyncDispose]();
    },
  };
}

type LaunchOptions = OwnBusOptions & { program: string; token: string; natsDir: string };

/** The one of a mesh that was killed is on its way out, and waited for. */
async function launchPatiently(options: LaunchOptions): Promise<NatsServer> {
  const { program, token, natsDir, port, syncInterval, signal } = options;
  const deadline = performance.now() + ORPHAN_MS;
  for (;;) {
    try {
      return await launchNatsServer({ program, dataDir: natsDir, port, token, syncInterval, signal });
    } catch (error) {
      if (!(error instanceof NatsServerNotStarted)) throw error;
      if (error.code === "port_busy")
        throw new ConfigurationError(
          `port ${port} on 127.0.0.1 is in use: choose another with --nats-port, or 0 for a free one`,
        );
      // This mesh holds the folder, so that server is a dead one's, on its way out.
      if (error.code !== "already_running" || performance.now() > deadline) throw error;
      await new Promise((done) => setTimeout(done, PAUSE_MS));
      signal?.throwIfAborted();
    }
  }
}

async function keptToken(file: string): Promise<string> {
  const kept = await readFile(file, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return "";
    throw error;
  });
  if (/^[0-9a-f]{32,}$/.test(kept.trim())) return kept.trim();
  const token = randomBytes(24).toString("hex");
  await writeFile(file, `${token}\n`, { mode: 0o600 });
  return token;
}
