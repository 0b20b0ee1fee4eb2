// The nats-server that a mesh starts for itself: found or fetched, on loopback, guarded by a token that is kept in the
// data folder from run to run. It must never print the token.
import { randomBytes } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { ConfigurationError } from "../../shared/config/environment.ts";
import { launchNatsServer, NatsServerNotStarted } from "../../shared/nats-server/launch.ts";
import { locateNatsServer } from "../../shared/nats-server/locate.ts";
import type { SyncInterval } from "../../shared/nats-server/server-config.ts";

export interface OwnBus extends AsyncDisposable {
  /** Carries the token. */
  url: string;
  pid: number;
  /** Resolves with words when it ends without having been told to. */
  died: Promise<string>;
}

export interface OwnBusOptions {
  dataDir: string;
  port: number;
  syncInterval: SyncInterval;
  env: NodeJS.ProcessEnv;
  onProgress: (text: string) => void;
  signal?: AbortSignal | undefined;
}

/** A nats-server whose mesh was killed takes so long to go at most, ms. */
const ORPHAN_MS = 10_000;
const PAUSE_MS = 200;

export async function startOwnBus({
  dataDir,
  port,
  syncInterval,
  env,
  onProgress,
  signal,
}: OwnBusOptions): Promise<OwnBus> {
  const { path: program } = await locateNatsServer({ env, onProgress, signal });
  const token = await keptToken(path.join(dataDir, "token"));
  const natsDir = path.join(dataDir, "nats");
  const deadline = performance.now() + ORPHAN_MS;
  for (;;) {
    try {
      const server = await launchNatsServer({
        program,
        dataDir: natsDir,
        port,
        token,
        syncInterval,
        signal,
      });
      let stopping = false;
      const died = server.exited.then(({ code, signal: by }) =>
        stopping
          ? new Promise<never>(() => {})
          : `nats-server ended unasked (${by ?? `exit code ${code}`}); its log is ${path.join(natsDir, "nats-server.log")}`,
      );
      return {
        url: server.url,
        pid: server.pid,
        died,
        async [Symbol.asyncDispose]() {
          stopping = true;
          await server[Symbol.asyncDispose]();
        },
      };
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
