// Finds out where a launched nats-server listens and whether it is ready to serve JetStream. It must never take
// another server for ours: the address comes from the file that our own process wrote.
import { readdir, readFile } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { z } from "zod";
import { systemErrorCode } from "../process/system-error.ts";

/** What a nats-server says of itself in the first line of every connection. */
const ServerInfo = z.object({
  version: z.string(),
  jetstream: z.boolean().default(false),
});
type ServerInfo = z.infer<typeof ServerInfo>;

const PortsFile = z.object({ nats: z.array(z.string()).min(1) });

export interface ReadyServer {
  readonly port: number;
  readonly version: string;
}

interface Launched {
  readonly dataDir: string;
  readonly pid: number;
  readonly host: string;
  readonly signal: AbortSignal;
}

/** Polls until the server `pid` accepts connections with JetStream on. Rejects with the signal's reason. */
export async function untilReady({ dataDir, pid, host, signal }: Launched): Promise<ReadyServer> {
  for (;;) {
    const port = await portOf(dataDir, pid);
    const info = port === undefined ? undefined : await readServerInfo(host, port);
    if (port !== undefined && info?.jetstream === true) return { port, version: info.version };
    await delay(5, undefined, { signal });
  }
}

/** nats-server names its file after its program and its process. undefined while it is missing or half written. */
async function portOf(dataDir: string, pid: number): Promise<number | undefined> {
  const name = (await readdir(dataDir)).find((file) => file.endsWith(`_${pid}.ports`));
  if (name === undefined) return undefined;
  try {
    const [url = ""] = PortsFile.parse(JSON.parse(await readFile(join(dataDir, name), "utf8"))).nats;
    return Number(new URL(url).port);
  } catch (error) {
    if (systemErrorCode(error) === "ENOENT" || error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** Connects and reads the server's INFO; undefined when it does not accept or does not say one in two seconds. */
function readServerInfo(host: string, port: number): Promise<ServerInfo | undefined> {
  return new Promise((resolve) => {
    let text = "";
    const socket = connect({ host, port, timeout: 2_000 });
    const finish = (info: ServerInfo | undefined) => {
      socket.destroy();
      resolve(info);
    };
    socket.setEncoding("utf8");
    socket.on("data", (chunk: string) => {
      text += chunk;
      const end = text.indexOf("\r\n");
      if (end >= 0) finish(parseInfo(text.slice(0, end)));
    });
    for (const event of ["error", "timeout", "close"] as const) socket.on(event, () => finish(undefined));
  });
}

function parseInfo(line: string): ServerInfo | undefined {
  if (!line.startsWith("INFO ")) return undefined;
  return ServerInfo.parse(JSON.parse(line.slice("INFO ".length)));
}
