// The network of an attempt's instances: the machine's, or one of their own with a way out or none. It lasts as long as
// the attempt does.
import type { Guest } from "../supervisor/guest-keeper.ts";
import type { ExecSpec } from "../supervisor/supervisor-link.ts";
import type { NetworkPlan, OwnersNetwork } from "./plan.ts";
import { Refusals } from "./refusals.ts";
import { wayOut } from "./way-out.ts";

export interface InstanceNetwork extends Disposable {
  /** Of everything that is run. */
  readonly kind: NonNullable<ExecSpec["network"]>;
  /** Of what runs for the task. */
  readonly doors: NonNullable<ExecSpec["doors"]>;
  /** How programs find the way out. */
  readonly environment: Record<string, string>;
}

/** Why this host cannot keep instances to what they may reach; null if it can. */
export function networkProblem(
  { mode }: Pick<NetworkPlan, "mode">,
  guest: Pick<Guest, "hello">,
): string | null {
  if (mode === "open" || guest.hello()?.ownNetwork === true) return null;
  return `its network is to be ${mode === "none" ? "none" : "what is allowed alone"}, and this host can give instances no network of their own (docs/isolation.md)`;
}

const DOOR = "way-out";
/** In a network of its own there is nobody else who could have it. */
const PORT = 3_128;
const PROXY = `http://127.0.0.1:${PORT}`;
const HERE = "localhost,127.0.0.1,::1";
const ENVIRONMENT = {
  ...{ HTTP_PROXY: PROXY, HTTPS_PROXY: PROXY, NO_PROXY: HERE },
  ...{ http_proxy: PROXY, https_proxy: PROXY, no_proxy: HERE },
  // Node goes by the others only then.
  NODE_USE_ENV_PROXY: "1",
};

/** `tell`: a line for the task's log. */
export function openNetwork(
  plan: NetworkPlan,
  attempt: { guest: Guest; attemptKey: string },
  owner: OwnersNetwork,
  tell: (words: string) => void,
): InstanceNetwork {
  const nothing = () => {};
  if (plan.mode === "open") return { kind: "machine", doors: [], environment: {}, [Symbol.dispose]: nothing };
  if (plan.mode === "none") return { kind: "own", doors: [], environment: {}, [Symbol.dispose]: nothing };
  const refusals = new Refusals(tell);
  const { answer } = wayOut({ plan, owners: owner.allowed, refusals });
  attempt.guest.answerAt(attempt.attemptKey, DOOR, answer);
  return {
    kind: "own",
    doors: [{ name: DOOR, port: PORT }],
    environment: ENVIRONMENT,
    [Symbol.dispose]: () => refusals.end(),
  };
}
