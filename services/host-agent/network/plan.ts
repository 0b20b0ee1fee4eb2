// What the instances of an attempt may reach: the narrowest of what the base branch and this host's owner say; strangers'
// work reaches what is allowed at most. Nothing that the pull request brings has a say in it. Pure.

import type { DeployRequest } from "../../../shared/contracts/deploy-request.ts";
import {
  type AllowedHost,
  NETWORKS,
  type NetworkName,
  narrowest,
} from "../../../shared/contracts/network.ts";

/** Of this host, by its owner. */
export interface OwnersNetwork {
  /** The widest that any attempt has here. */
  widest: NetworkName;
  allowed: readonly AllowedHost[];
}

/** Of the base branch's configuration. */
export interface RepositorysNetwork {
  mode?: NetworkName | undefined;
  allow?: readonly AllowedHost[] | undefined;
}

export interface NetworkPlan {
  mode: NetworkName;
  /** With `allowlist`: a host may be reached that is on every one of these. */
  lists: (readonly AllowedHost[])[];
  /** What would allow a host that is refused, in words. */
  remedy: string;
  /** What the log is told of it; null where there is nothing to tell. */
  note: string | null;
}

const BY_OWNER = "this host's owner names what may be reached in MESH_HOST_ALLOWED_HOSTS";
const BY_REPOSITORY = "the base branch names what may be reached in .agent-mesh.toml, [network] allow";

export function networkOf(
  { fork }: Pick<DeployRequest, "fork">,
  repository: RepositorysNetwork,
  owner: OwnersNetwork,
): NetworkPlan {
  const strangers = fork === true ? "allowlist" : "open";
  // Whoever names what may be reached means nothing else.
  const wanted = repository.mode ?? (repository.allow === undefined ? "open" : "allowlist");
  const mode = narrowest(wanted, owner.widest, strangers);
  // Strangers' work may reach nothing but what the owner has thought of; for others an owner who allows everything
  // has no list to keep to.
  const ownersCounts = fork === true || owner.widest !== "open";
  const repositorysCounts = fork !== true && (wanted === "allowlist" || !ownersCounts);
  const lists = [
    ...(ownersCounts ? [owner.allowed] : []),
    ...(repositorysCounts ? [repository.allow ?? []] : []),
  ];
  const remedy = [...(ownersCounts ? [BY_OWNER] : []), ...(repositorysCounts ? [BY_REPOSITORY] : [])];
  return { mode, lists, remedy: remedy.join("; "), note: noteOf(mode, lists) };
}

/** What a host can give its attempts; nothing where it may not give the machine's and has no other. */
export const networksGiven = (
  { widest }: Pick<OwnersNetwork, "widest">,
  ownNetwork: boolean,
): NetworkName[] => NETWORKS.slice(NETWORKS.indexOf(widest)).filter((name) => ownNetwork || name === "open");

function noteOf(mode: NetworkName, lists: (readonly AllowedHost[])[]): string | null {
  if (mode === "open") return null;
  if (mode === "none") return "network: none";
  const named = lists.map((list) => list.map(inWords).join(", ") || "nothing").join(", of which only ");
  return `network: what is allowed alone, which is ${named}`;
}

export const inWords = ({ name, isBelow, isAddress, port }: AllowedHost): string => {
  const host = isAddress && name.includes(":") ? `[${name}]` : name;
  return `${isBelow ? "*." : ""}${host}${port === 443 ? "" : `:${port}`}`;
};

/** Whether a list has it, by its name or as an address. */
export function isOn(list: readonly AllowedHost[], host: string, port: number): boolean {
  const name = host.toLowerCase().replace(/\.$/, "");
  return list.some(
    (allowed) =>
      allowed.port === port && (allowed.isBelow ? name.endsWith(`.${allowed.name}`) : name === allowed.name),
  );
}
