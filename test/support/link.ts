// A network link between one process and the bus: a TCP relay that can lose one direction or both, as a cable or a
// firewall does: connections stay open, and nothing comes through. It never alters what it lets through.
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";

export type Direction = "toBus" | "fromBus" | "both";

export interface Link extends AsyncDisposable {
  readonly port: number;
  cut(direction: Direction): void;
  /** What was lost is lost: open connections are broken, so that both ends notice. */
  mend(): void;
}

/** `address`: where it is found. */
export async function openLink(busPort: number, address = "127.0.0.1"): Promise<Link> {
  const pairs = new Set<[Socket, Socket]>();
  let lost: Direction | null = null;
  const loses = (direction: Exclude<Direction, "both">) => lost === direction || lost === "both";
  const server = createServer((near) => {
    const far = connect(busPort, "127.0.0.1");
    const pair: [Socket, Socket] = [near, far];
    pairs.add(pair);
    const pass = (from: Socket, to: Socket, direction: Exclude<Direction, "both">) => {
      from.on("data", (bytes) => {
        if (loses(direction) || to.destroyed) return;
        if (to.write(bytes)) return;
        from.pause();
        to.once("drain", () => from.resume());
      });
      from.on("error", () => {});
      from.on("close", () => {
        pairs.delete(pair);
        to.destroy();
      });
    };
    pass(near, far, "toBus");
    pass(far, near, "fromBus");
  });
  server.listen(0, address);
  await once(server, "listening");
  const bound = server.address();
  if (typeof bound !== "object" || bound === null) throw new Error("the link has no port");
  const breakAll = () => {
    for (const pair of pairs) for (const socket of pair) socket.destroy();
  };
  return {
    port: bound.port,
    cut(direction) {
      lost = direction;
    },
    mend() {
      lost = null;
      breakAll();
    },
    async [Symbol.asyncDispose]() {
      server.close();
      breakAll();
      await once(server, "close");
    },
  };
}
