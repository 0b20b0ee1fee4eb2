// The bus as a service has it: connected, and provisioned again whenever its server comes back. Tests close it.
import { pino } from "pino";
import { type Bus, connectBus } from "../../shared/bus/connect.ts";
import { keepProvisioned } from "../../shared/bus/provision.ts";
import { readEnvironment } from "../../shared/config/environment.ts";
import type { ServiceContext } from "../../shared/service/run.ts";

export async function openBus(url: string): Promise<Bus> {
  await using stack = new AsyncDisposableStack();
  const bus = stack.use(await connectBus({ url, name: "test" }));
  stack.use(await keepProvisioned(bus));
  const owned = stack.move();
  return { ...bus, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

/** What a service is started with in a test: a short lease, and no log. */
export const contextFor = (url: string, env: NodeJS.ProcessEnv = {}): ServiceContext => ({
  environment: readEnvironment({ MESH_LEASE_MS: "2000", ...env, NATS_URL: url }),
  log: pino({ level: "silent" }),
});
