// A network of a host's own, as a machine has one: a namespace with one cable to the bus, which a test pulls, or lets
// carry one direction only. Making it takes root on Linux, and `ip`.
import { execFileSync } from "node:child_process";
import type { Direction } from "./link.ts";
import { openLink } from "./link.ts";

const quietly = (program: string, ...args: string[]): void =>
  void execFileSync(program, args, { stdio: "pipe" });
const ip = (...args: string[]): void => quietly("ip", ...args);

let networks = 0;

/** Whether this process may make one; where not, its tests are skipped. */
export const canHaveNetworks = process.platform === "linux" && process.getuid?.() === 0 && tries();

export interface OwnNetwork extends AsyncDisposable {
  /** Of the bus, as the namespace sees it. */
  readonly busUrl: string;
  /** What a program is started by to be inside: it takes this one's place. */
  readonly inside: string[];
  /** Both: the interface goes down. One way: what is sent goes nowhere, and nobody is told. */
  cut(direction: Direction): void;
  mend(): void;
}

export async function openNetwork(busPort: number): Promise<OwnNetwork> {
  const { name, near, far, bus, host } = wire();
  const link = await openLink(busPort, bus).catch((error: unknown) => {
    ip("netns", "del", name);
    throw error;
  });
  const routes: Record<Exclude<Direction, "both">, string[]> = {
    toBus: ["-n", name, "route", "add", "blackhole", `${bus}/32`],
    fromBus: ["route", "add", "blackhole", `${host}/32`],
  };
  let lost: Direction | null = null;
  const mend = () => {
    if (lost === "both") ip("-n", name, "link", "set", far, "up");
    else if (lost !== null) ip(...routes[lost].map((word) => (word === "add" ? "del" : word)));
    lost = null;
  };
  return {
    busUrl: `nats://${bus}:${link.port}`,
    inside: ["nsenter", `--net=/run/netns/${name}`],
    cut(direction) {
      if (direction === "both") ip("-n", name, "link", "set", far, "down");
      else ip(...routes[direction]);
      lost = direction;
    },
    mend,
    async [Symbol.asyncDispose]() {
      mend();
      await link[Symbol.asyncDispose]();
      ip("link", "del", near);
      ip("netns", "del", name);
    },
  };
}

/** A namespace, and a pair of interfaces between this one and it. */
function wire() {
  const number = networks++;
  const name = `mesh-${process.pid}-${number}`;
  const [near, far] = [`mn${process.pid}-${number}`, `mf${process.pid}-${number}`];
  const subnet = `10.${200 + (process.pid % 50)}.${Math.floor(process.pid / 50) % 256}.${number * 4}`;
  const at = (last: number) => subnet.replace(/\d+$/, String(number * 4 + last));
  const [bus, host] = [at(1), at(2)];
  ip("netns", "add", name);
  try {
    ip("link", "add", near, "type", "veth", "peer", "name", far, "netns", name);
    ip("addr", "add", `${bus}/30`, "dev", near);
    ip("link", "set", near, "up");
    ip("-n", name, "addr", "add", `${host}/30`, "dev", far);
    ip("-n", name, "link", "set", far, "up");
    ip("-n", name, "link", "set", "lo", "up");
  } catch (error) {
    ip("netns", "del", name);
    throw error;
  }
  return { name, near, far, bus, host };
}

function tries(): boolean {
  try {
    quietly("nsenter", "--version");
    const { name, near } = wire();
    ip("link", "del", near);
    ip("netns", "del", name);
    return true;
  } catch {
    return false;
  }
}
