// What this host can give attempts, as its supervisors have found out. All instances are made alike; while none is there
// it counts as it was.
import type { Environment } from "../../shared/config/environment.ts";
import type { NetworkName } from "../../shared/contracts/network.ts";
import type { Hello, LimitsHeld } from "./guest/protocol.ts";
import type { Machine } from "./instances/machine.ts";
import { networksGiven, type OwnersNetwork } from "./network/plan.ts";

export interface Ability {
  /** Undefined before the first supervisor has spoken. */
  hello(): Hello | undefined;
  /** Of the instances that are there now. */
  limits(): LimitsHeld;
  networks(): NetworkName[];
  takesStrangers(): boolean;
  /** Why it can take no work at all; null if it can. */
  unable(): string | null;
}

/** Said while there is no supervisor. */
const NOTHING_HELD: LimitsHeld = { memory: "none", processes: "none", cpus: "none" };
const NO_NETWORK =
  "MESH_HOST_NETWORK keeps its attempts from the network, and it can give them none of their own (docs/isolation.md)";

export function abilityOf(
  machines: () => Machine[],
  owner: OwnersNetwork,
  { MESH_HOST_UNTRUSTED }: Pick<Environment, "MESH_HOST_UNTRUSTED">,
): Ability {
  let last: Hello | undefined;
  const hello = () => {
    last = machines()[0]?.guest.hello() ?? last;
    return last;
  };
  const networks = () => networksGiven(owner, hello()?.ownNetwork === true);
  return {
    hello,
    networks,
    limits: () => machines()[0]?.guest.hello()?.limits ?? NOTHING_HELD,
    // What can see the machine, or reach what listens on it, is never a stranger's, whatever the machine was told.
    takesStrangers: () =>
      MESH_HOST_UNTRUSTED && hello()?.isolation === "sandbox" && networks().includes("none"),
    unable: () => (hello() === undefined || networks().length > 0 ? null : NO_NETWORK),
  };
}
