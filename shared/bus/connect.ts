// The connection to NATS: waits for the server, never gives up on it, notices a dead link within a lease,
// and refuses a server that lacks what the mesh relies on. One that does not want us is not waited for.
import { access, constants } from "node:fs/promises";
import { isIP } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { checkServerIdentity, type PeerCertificate } from "node:tls";
import { type JetStreamClient, jetstream } from "@nats-io/jetstream";
import { type ConnectionOptions, connect, type NatsConnection } from "nats";
import { isRecentEnough, refusal } from "../nats-server/requirements.ts";
import { refusalOf } from "./bus-refusal.ts";

export interface Bus extends AsyncDisposable {
  readonly connection: NatsConnection;
  readonly js: JetStreamClient;
  /** Milliseconds (monotonic) since which the link has been up without a break; null while it is down. */
  connectedSince(): number | null;
  /** Calls the listener after every reconnect, until disposed. The server may be another one, or have forgotten. */
  onReconnect(listener: () => void): Disposable;
}

export interface BusOptions {
  /** `nats://[token@ | user:password@]host:port`, `tls://…`, or several with commas between. */
  url: string;
  name: string;
  /** PEM file of the authority that signed the server's certificate. */
  caFile?: string | undefined;
  /** Wait for a server that is not there yet; otherwise fail within seconds. */
  wait?: boolean;
  /** While it waits, at first or for the link to come back: why, once for each reason. */
  onWaiting?: (reason: string) => void;
  /** The link came back to a server that cannot be used; the connection has been closed. */
  onUnusable?: (error: BusError) => void;
}

/** Thrown for a bus that cannot be used, with words for a person. */
export class BusError extends Error {}

/** While a server is away, it is tried again this often, ms. */
const RETRY_MS = 250;

export async function connectBus(options: BusOptions): Promise<Bus> {
  const { onWaiting = () => {}, onUnusable = () => {} } = options;
  const address = withoutSecret(options.url);
  const connection = await reach(options);
  const tooOld = () => {
    const version = connection.info?.version ?? "0";
    return isRecentEnough(version) ? null : new BusError(`NATS at ${address}: ${refusal(version)}`);
  };
  const unusable = tooOld();
  if (unusable !== null) {
    await connection.close();
    throw unusable;
  }
  let since: number | null = performance.now();
  const listeners = new Set<() => void>();
  void (async () => {
    let told: string | null = null;
    for await (const status of connection.status()) {
      if (status.type === "disconnect") since = null;
      else if (status.type === "error" && since === null) {
        // Whoever was let in once holds work, and a server's wrong configuration may be put right: it goes on trying.
        const refused = refusalOf(status.error, address);
        if (refused !== null && refused !== told) onWaiting(refused);
        told = refused ?? told;
      } else if (status.type === "reconnect") {
        // Another version may have taken the place of the one that was judged.
        const nowUnusable = tooOld();
        if (nowUnusable !== null) {
          await connection.close();
          return onUnusable(nowUnusable);
        }
        told = null;
        since = performance.now();
        for (const listener of listeners) listener();
      }
    }
  })();
  return {
    connection,
    js: jetstream(connection),
    connectedSince: () => since,
    onReconnect(listener) {
      // An object of its own: one listener may be given twice.
      const call = () => listener();
      listeners.add(call);
      return { [Symbol.dispose]: () => void listeners.delete(call) };
    },
    async [Symbol.asyncDispose]() {
      since = null;
      // A drain waits for the server's answer, which may be gone.
      await Promise.race([
        connection.drain().catch(() => {}),
        new Promise((done) => setTimeout(done, 1_000).unref()),
      ]);
      await connection.close();
    },
  };
}

/** Connected to whatever version there is. Throws a `BusError` for a server that refuses us or, unasked to wait, is away. */
async function reach(options: BusOptions): Promise<NatsConnection> {
  const { url, name, caFile, wait = false, onWaiting = () => {} } = options;
  const target = connectionTarget(url);
  if (caFile !== undefined) await readable(caFile);
  const address = withoutSecret(url);
  const told = new Set<string>();
  for (;;) {
    try {
      return await connect({
        ...target,
        name,
        ...(caFile || url.includes("tls://") ? { tls: tlsOptions(target.servers, caFile) } : {}),
        timeout: 5_000,
        maxReconnectAttempts: -1,
        reconnectTimeWait: RETRY_MS,
        reconnectJitter: RETRY_MS,
        pingInterval: 3_000,
        maxPingOut: 2,
        // Otherwise every request and publish takes a stack trace, for the case that it fails.
        noAsyncTraces: true,
        ignoreAuthErrorAbort: wait,
      });
    } catch (error) {
      const refused = refusalOf(error, address);
      if (refused !== null) throw new BusError(refused);
      const reason = `cannot reach NATS at ${address}: ${(error as Error | undefined)?.message ?? "it hung up"}`;
      if (!wait) throw new BusError(reason);
      if (!told.has(reason)) onWaiting(reason);
      told.add(reason);
      await delay(RETRY_MS * (1 + Math.random()));
    }
  }
}

function tlsOptions(servers: string[], caFile: string | undefined) {
  const hosts = servers.map((server) => server.replace(/:\d+$/, "").replaceAll(/[[\]]/g, ""));
  const addresses = hosts.filter((host) => isIP(host) !== 0);
  return {
    ...(caFile ? { caFile } : {}),
    // For a server named by its address the client gives Node no name, and Node then takes "localhost".
    checkServerIdentity(name: string, certificate: PeerCertificate) {
      const meant = hosts.includes(name) || addresses.length === 0 ? [name] : addresses;
      const problems = meant.map((host) => checkServerIdentity(host, certificate));
      return problems.includes(undefined) ? undefined : problems[0];
    },
  };
}

async function readable(caFile: string): Promise<void> {
  try {
    await access(caFile, constants.R_OK);
  } catch (error) {
    throw new BusError(`NATS_CA_FILE: cannot read ${caFile}: ${(error as Error).message}`);
  }
}

/** The client takes no credentials from a URL: they are handed over apart. */
export function connectionTarget(
  urls: string,
): Pick<ConnectionOptions, "token" | "user" | "pass"> & { servers: string[] } {
  const servers: string[] = [];
  let credentials: Pick<ConnectionOptions, "token" | "user" | "pass"> = {};
  for (const text of urls.split(",")) {
    const url = URL.parse(text.trim());
    if (url === null || !["nats:", "tls:"].includes(url.protocol) || url.hostname === "")
      throw new BusError(
        `"${withoutSecret(text)}" is no NATS URL: expected nats://[token@]host:port or tls://…`,
      );
    servers.push(`${url.hostname}:${url.port || "4222"}`);
    if (url.username !== "") {
      const user = decodeURIComponent(url.username);
      credentials = url.password === "" ? { token: user } : { user, pass: decodeURIComponent(url.password) };
    }
  }
  return { servers, ...credentials };
}

/** The URL as it may be shown and logged. */
export const withoutSecret = (url: string): string => url.replaceAll(/\/\/[^@/,]*@/g, "//");
