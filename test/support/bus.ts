// The bus as a service has it: connected, and provisioned again whenever its server comes back. Tests close it.
import { type Bus, connectBus } from "../../shared/bus/connect.ts";
import { keepProvisioned } from "../../shared/bus/provision.ts";

export async function openBus(url: string): Promise<Bus> {
  await using stack = new AsyncDisposableStack();
  const bus = stack.use(await connectBus({ url, name: "test" }));
  stack.use(await keepProvisioned(bus));
  const owned = stack.move();
  return { ...bus, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}
