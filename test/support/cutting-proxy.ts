// An HTTP proxy on loopback whose connections a test can cut, as a network does. It speaks to its target under the
// target's own name, and must never alter anything else.
import { once } from "node:events";
import { createServer, request } from "node:http";

export interface CuttingProxy extends AsyncDisposable {
  url: string;
  /** Cuts every connection that is open now; new ones are taken. */
  cut(): void;
}

export async function startCuttingProxy(targetPort: number): Promise<CuttingProxy> {
  const server = createServer((incoming, outgoing) => {
    const { method, url: path, headers } = incoming;
    const target = { host: "127.0.0.1", port: targetPort };
    const onward = request({
      ...target,
      method,
      path,
      headers: { ...headers, host: `${target.host}:${target.port}` },
    });
    onward.on("response", (response) => {
      outgoing.writeHead(response.statusCode ?? 502, response.headers);
      response.pipe(outgoing);
    });
    onward.on("error", () => outgoing.destroy());
    outgoing.on("close", () => onward.destroy());
    incoming.pipe(onward);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (typeof address !== "object" || address === null) throw new Error("the proxy has no port");
  return {
    url: `http://127.0.0.1:${address.port}`,
    cut: () => server.closeAllConnections(),
    async [Symbol.asyncDispose]() {
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
  };
}
