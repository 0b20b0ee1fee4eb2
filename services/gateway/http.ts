// The gateway's routes and what holds for all of them: the origin guard, the request id, and problem details
// for whatever is refused. It owns no state and decides nothing about tasks.
import { randomUUID } from "node:crypto";
import type { HttpBindings } from "@hono/node-server";
import { type Context, Hono } from "hono";
import type { Logger } from "pino";
import { askApi } from "../../shared/bus/ask.ts";
import type { Bus } from "../../shared/bus/connect.ts";
import type { MeshConfig } from "../../shared/config/mesh-config.ts";
import { refuse } from "../../shared/contracts/failure.ts";
import * as fleet from "./fleet-routes.ts";
import { receiveWebhook } from "./github.ts";
import type { Handler } from "./json.ts";
import { originProblem } from "./origin-guard.ts";
import { refuseWith } from "./problem.ts";
import type { SseStreams } from "./sse.ts";
import * as tasks from "./task-routes.ts";

export interface Gateway {
  bus: Bus;
  log: Logger;
  streams: SseStreams;
  config: MeshConfig;
  webhookSecret: string | undefined;
  port: () => number;
  /** It has been told to stop. */
  stopping: () => boolean;
}

export interface GatewayEnv {
  Bindings: HttpBindings;
}

const WEBHOOK_PATH = "/webhooks/github";
const READY_MS = 1_500;
const REQUEST_ID = /^[\w.:-]{1,128}$/;
/** Names of what the bus throws while it is away. */
const BUS_AWAY = new Set(["TimeoutError", "NoRespondersError", "RequestError", "ClosedConnectionError"]);
const BUS_DOWN = refuse("unavailable", "the mesh's bus does not answer").error;

const ROUTES: [method: "GET" | "POST", path: string, handler: Handler][] = [
  ["POST", "/v1/tasks", tasks.submit],
  ["GET", "/v1/tasks", tasks.list],
  ["GET", "/v1/tasks/:id", tasks.get],
  ["POST", "/v1/tasks/:id/cancel", tasks.cancel],
  ["POST", "/v1/tasks/:id/retry", tasks.retry],
  ["POST", "/v1/tasks/:id/say", tasks.say],
  ["GET", "/v1/tasks/:id/explain", tasks.explain],
  ["GET", "/v1/tasks/:id/events", tasks.taskEvents],
  ["GET", "/v1/tasks/:id/logs", tasks.logs],
  ["GET", "/v1/tasks/:id/push", tasks.push],
  ["GET", "/v1/tasks/:id/artifacts/:name", tasks.artifact],
  ["POST", "/v1/cancellations", tasks.cancelMany],
  ["GET", "/v1/dead", tasks.dead],
  ["POST", "/v1/retries", tasks.retryAll],
  ["GET", "/v1/events", tasks.events],
  ["GET", "/v1/hosts", fleet.hosts],
  ["POST", "/v1/hosts/:id/cordon", fleet.wish("cordon")],
  ["POST", "/v1/hosts/:id/uncordon", fleet.wish("uncordon")],
  ["POST", "/v1/hosts/:id/drain", fleet.wish("drain")],
  ["GET", "/v1/costs", fleet.costs],
  ["POST", "/v1/pause", fleet.pauseOrResume("pause")],
  ["POST", "/v1/resume", fleet.pauseOrResume("resume")],
  ["POST", "/v1/stop", fleet.stop],
  ["GET", "/v1/config", fleet.config],
  ["POST", "/v1/config", fleet.configure],
  ["GET", "/livez", async (_, context) => context.json({ status: "alive" })],
  ["GET", "/readyz", ready],
  ["POST", WEBHOOK_PATH, receiveWebhook],
];

export function createApp(gateway: Gateway): Hono<GatewayEnv> {
  const app = new Hono<GatewayEnv>();

  app.use(async (context, next) => {
    const given = context.req.header("x-request-id");
    const { outgoing } = context.env;
    // Set on the response itself, so that streams carry them too.
    outgoing.setHeader("x-request-id", given !== undefined && REQUEST_ID.test(given) ? given : randomUUID());
    outgoing.setHeader("x-content-type-options", "nosniff");
    outgoing.setHeader("cross-origin-resource-policy", "same-origin");
    return next();
  });

  app.use(async (context, next) => {
    // GitHub comes through a tunnel, under its name, and brings a signature instead.
    if (context.req.path === WEBHOOK_PATH) return next();
    const { host, origin, "sec-fetch-site": site } = context.env.incoming.headers;
    const fetchSite = Array.isArray(site) ? site.join() : site;
    const problem = originProblem({ host, origin, fetchSite }, gateway.port());
    return problem === null ? next() : refuseWith(context, refuse("forbidden", problem).error);
  });

  // A question is better asked again than left hanging; a request to do something waits for the bus a while.
  app.get("/v1/*", async (context, next) =>
    gateway.bus.connectedSince() === null ? refuseWith(context, BUS_DOWN) : next(),
  );

  for (const [method, path, handler] of ROUTES) app.on(method, path, (context) => handler(gateway, context));

  for (const [path, routes] of Map.groupBy(ROUTES, ([, path]) => path)) {
    const allow = routes.map(([method]) => (method === "GET" ? "GET, HEAD" : method)).join(", ");
    app.all(path, (context) =>
      refuseWith(context, { code: "method_not_allowed", message: `expected ${allow} here` }, { allow }),
    );
  }

  app.notFound((context) => refuseWith(context, refuse("not_found", "there is no such route").error));

  app.onError((error, context) => {
    if (gateway.bus.connectedSince() === null || BUS_AWAY.has(error.name))
      return refuseWith(context, BUS_DOWN);
    gateway.log.error({ error, path: context.req.path }, "a request met a bug");
    return refuseWith(
      context,
      refuse("internal", "this request met a bug; the gateway's log has the details").error,
    );
  });

  return app;
}

/** Ready when the bus is connected and a status tracker answers. */
async function ready({ bus, stopping }: Gateway, context: Context<GatewayEnv>): Promise<Response> {
  if (stopping()) return refuseWith(context, refuse("unavailable", "the gateway is stopping").error);
  if (bus.connectedSince() === null) return refuseWith(context, BUS_DOWN);
  const listed = await askApi(bus, "list", { limit: 1 }, READY_MS);
  if (!listed.ok && listed.error.code === "unavailable")
    return refuseWith(context, refuse("unavailable", "no status tracker answers").error);
  return context.json({ status: "ready" });
}
