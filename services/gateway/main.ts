// The gateway: the mesh's edge over HTTP. It owns no state: what it is told goes to the log, what it tells
// comes from the log and the status tracker. Until it has accounts it listens on loopback only.
import { createServer, type Server } from "node:http";
import { getRequestListener, RequestError } from "@hono/node-server";
import { connectBus } from "../../shared/bus/connect.ts";
import { provision } from "../../shared/bus/provision.ts";
import { followSettings } from "../../shared/bus/settings.ts";
import { ConfigurationError } from "../../shared/config/environment.ts";
import { readMeshConfig } from "../../shared/config/mesh-config.ts";
import { refuse } from "../../shared/contracts/failure.ts";
import { busOptions, runService, type ServiceContext } from "../../shared/service/run.ts";
import { serveStopOrder } from "../../shared/service/stop-order.ts";
import { createApp } from "./http.ts";
import { problemResponse } from "./problem.ts";
import { type PusherTimes, startPusher } from "./push/pusher.ts";
import { type SseLimits, sseStreams } from "./sse.ts";

const ADDRESS = "127.0.0.1";
const CLOSE_DEADLINE_MS = 5_000;

export async function start(
  context: ServiceContext,
  options: { port?: number; sse?: Partial<SseLimits>; push?: PusherTimes } = {},
): Promise<AsyncDisposable & { url: string; port: number }> {
  const { environment, log } = context;
  const config = await readMeshConfig(environment.MESH_CONFIG);
  await using acquired = new AsyncDisposableStack();
  const bus = acquired.use(await connectBus(busOptions(context, "gateway")));
  await provision(bus);
  acquired.use(await followSettings(bus, log));
  if (Object.keys(config.push).length > 0) acquired.use(await startPusher(bus, config, log, options.push));

  let stopping = false;
  let port = 0;
  const streams = sseStreams(log, options.sse);
  const app = createApp({
    bus,
    log,
    streams,
    config,
    webhookSecret: environment.MESH_GITHUB_WEBHOOK_SECRET,
    port: () => port,
    stopping: () => stopping,
  });
  const listener = getRequestListener(app.fetch, {
    overrideGlobalObjects: false,
    errorHandler: (error) => {
      // What never became a request: a malformed target or Host header.
      if (error instanceof RequestError) return problemResponse(refuse("bad_request", error.message).error);
      log.error({ error }, "a request met a bug");
      return problemResponse(refuse("internal", "this request met a bug").error);
    },
  });
  const server = createServer((incoming, outgoing) => void listener(incoming, outgoing));
  port = await listen(server, options.port ?? environment.MESH_HTTP_PORT);
  acquired.defer(() => close(server));
  // Released before the server, which waits for its responses to end.
  acquired.use(streams);
  acquired.defer(() => {
    stopping = true;
  });

  acquired.use(serveStopOrder(bus, context, "gateway"));
  const url = `http://${ADDRESS}:${port}`;
  log.info({ url }, "listening");
  const released = acquired.move();
  return { url, port, [Symbol.asyncDispose]: () => released.disposeAsync() };
}

function listen(server: Server, port: number): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  server.once("error", (error: NodeJS.ErrnoException) =>
    reject(
      error.code === "EADDRINUSE" || error.code === "EACCES"
        ? new ConfigurationError(
            `MESH_HTTP_PORT: port ${port} on ${ADDRESS} is ${error.code === "EACCES" ? "not allowed" : "taken"}: choose another, or 0 for a free one`,
          )
        : error,
    ),
  );
  server.listen(port, ADDRESS, () => {
    const address = server.address();
    resolve(typeof address === "object" && address !== null ? address.port : port);
  });
  return promise;
}

async function close(server: Server): Promise<void> {
  const closed = new Promise<void>((done) => server.close(() => done()));
  const deadline = setTimeout(() => server.closeAllConnections(), CLOSE_DEADLINE_MS);
  await closed;
  clearTimeout(deadline);
}

if (import.meta.main) await runService("gateway", start);
