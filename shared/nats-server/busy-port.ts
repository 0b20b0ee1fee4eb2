// Tells whether another program listens where we are about to. It must never hold the port longer than it asks.
import { once } from "node:events";
import { createServer } from "node:net";
import { systemErrorCode } from "../process/system-error.ts";

/** Asked before nats-server is, which says it in words only. Any other trouble with the port is left to it. */
export async function isPortBusy(host: string, port: number): Promise<boolean> {
  const listener = createServer();
  try {
    const listening = once(listener, "listening");
    listener.listen({ host, port, exclusive: true });
    await listening;
  } catch (error) {
    return systemErrorCode(error) === "EADDRINUSE";
  }
  const closed = once(listener, "close");
  listener.close();
  await closed;
  return false;
}
