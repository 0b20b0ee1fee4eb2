// Services as processes that are told over the bus to stop: each answers under its name, finishes, and ends by itself.
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { describe, expect, it, vi } from "vitest";
import { askApi } from "../../shared/bus/ask.ts";
import { httpClient } from "../../shared/client/http-client.ts";
import type { ServiceName } from "../../shared/contracts/service.ts";
import { openBus } from "../support/bus.ts";
import { startGatewayMesh } from "../support/gateway.ts";
import { startNats } from "../support/nats.ts";
import { type ServiceProcess, startServiceProcesses } from "../support/service-processes.ts";

const DEADLINE = { timeout: 30_000, interval: 50 };

async function startMesh() {
  await using stack = new AsyncDisposableStack();
  const folder = await mkdtemp(path.join(tmpdir(), "mesh-stop-"));
  stack.defer(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }));
  const { url } = stack.use(await startNats());
  const bus = stack.use(await openBus(url));
  const env = { NATS_URL: url, MESH_LOG_LEVEL: "info", MESH_HTTP_PORT: "0" };
  const processes = stack.use(await startServiceProcesses(folder, env));
  const stop = async (service: ServiceName, instance?: string) => {
    const told = await askApi(bus, "stop", { service, instance });
    return told.ok ? told.value.stopping : [];
  };
  /** Each in the life that it has now; their process ids. */
  const untilReady = (those: ServiceProcess[]) =>
    vi.waitUntil(async () => {
      const log = await readFile(path.join(folder, "services.log"), "utf8");
      const ready = new Set(
        log
          .split("\n")
          .flatMap((line) => (line.includes('"msg":"ready"') ? [/"pid":(\d+)/.exec(line)?.[1]] : [])),
      );
      return those.every(({ pid }) => ready.has(String(pid()))) && those.map(({ pid }) => pid() ?? 0);
    }, DEADLINE);
  const owned = stack.move();
  return { processes, stop, untilReady, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

const pidIn = (instance: string) => Number(/\d+$/.exec(instance)?.[0]);

describe("the order to stop", () => {
  it.each(["scheduler", "gateway", "status-tracker"] as const)(
    "ends every %s, or the one that it names, each with exit code 0 once it has answered",
    async (service) => {
      await using mesh = await startMesh();
      const { processes, stop, untilReady } = mesh;
      const bystander = processes.start("status-tracker");
      const pair = [processes.start(service), processes.start(service)];
      const pids = await untilReady([bystander, ...pair]);
      const told = await stop(service);
      const everyOne = service === "status-tracker" ? pids : pids.slice(1);
      expect(told.map((one) => one.service)).toEqual(everyOne.map(() => service));
      expect(new Set(told.map(({ instance }) => pidIn(instance)))).toEqual(new Set(everyOne));
      await vi.waitUntil(() => pair.every((one) => one.lives() === 2), DEADLINE);
      const [bystanders, first, second] = await untilReady([bystander, ...pair]);
      const name = told[0]?.instance.replace(/\d+$/, "") ?? "";
      expect(await stop(service, `${name}${first}`)).toEqual([{ service, instance: `${name}${first}` }]);
      await vi.waitUntil(() => pair[0]?.lives() === 3, DEADLINE);
      expect([bystander.pid(), pair[1]?.pid()]).toEqual([bystanders, second]);
      expect(processes.crashes).toEqual([]);
    },
  );

  it("is refused over HTTP and NATS alike where it fits nothing that could stop", async () => {
    await using mesh = await startGatewayMesh();
    const client = httpClient(mesh.url);
    expect(await client.stop({ service: "gateway" })).toMatchObject({
      ok: false,
      error: { code: "not_found", message: expect.stringContaining("mesh up") as string },
    });
    for (const instance of ["*", "a.b", ">"])
      expect(await client.stop({ service: "scheduler", instance })).toMatchObject({
        ok: false,
        error: { code: "bad_request" },
      });
  });
});
