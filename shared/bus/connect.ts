// The connection to NATS: waits for the server, never gives up on it, notices a dead link within a lease,
// and refuses a server that lacks what the mesh relies on.
import { type JetStreamClient, jetstream } from "@nats-io/jetstream";
import { type ConnectionOptions, connect, type NatsConnection } from "nats";
import { isRecentEnough, refusal } from "../nats-server/requirements.ts";

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
}

/** Thrown for a bus that cannot be used, with words for a person. */
export class BusError extends Error {}

export async function connectBus(options: BusOptions): Promise<Bus> {
  let connection: NatsConnection;
  try {
    connection = await connect({
      ...connectionTarget(options.url),
      name: options.name,
      ...(options.caFile || options.url.includes("tls://")
        ? { tls: options.caFile ? { caFile: options.caFile } : {} }
        : {}),
      waitOnFirstConnect: options.wait ?? false,
      timeout: 5_000,
      maxReconnectAttempts: -1,
      reconnectTimeWait: 250,
      reconnectJitter: 250,
      pingInterval: 3_000,
      maxPingOut: 2,
      // Otherwise every request and publish takes a stack trace, for the case that it fails.
      noAsyncTraces: true,
      ignoreAuthErrorAbort: options.wait ?? false,
    });
  } catch (error) {
    throw new BusError(`cannot reach NATS at ${withoutSecret(options.url)}: ${(error as Error).message}`);
  }
  const version = connection.info?.version ?? "0";
  if (!isRecentEnough(version)) {
    await connection.close();
    throw new BusError(refusal(version));
  }
  let since: number | null = performance.now();
  const listeners = new Set<() => void>();
  void (async () => {
    for await (const status of connection.status()) {
      if (status.type === "disconnect") since = null;
      else if (status.type === "reconnect") {
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

/** The client takes no credentials from a URL: they are handed over apart. */
export function connectionTarget(
  urls: string,
): Pick<ConnectionOptions, "servers" | "token" | "user" | "pass"> {
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
