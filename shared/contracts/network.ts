// What an instance may reach of the network, in the words of whoever says so: the request, the repository's base
// branch, the host's owner.
import { z } from "zod";

/** From the widest to the narrowest. `open` is the machine's own; from `allowlist` on an instance has one of its own. */
export const NETWORKS = ["open", "allowlist", "none"] as const;
export const NetworkName = z.enum(NETWORKS);
export type NetworkName = z.infer<typeof NetworkName>;

export const narrowest = (...names: NetworkName[]): NetworkName =>
  NETWORKS[Math.max(0, ...names.map((name) => NETWORKS.indexOf(name)))] ?? "none";

const HTTPS_PORT = 443;

/** A place that may be reached. */
export interface AllowedHost {
  /** In lower case; an IP address without brackets. */
  name: string;
  /** Those below the name are meant, and not itself. */
  isBelow: boolean;
  isAddress: boolean;
  port: number;
}

const HOST =
  /^(\*\.)?([a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(?:\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*)\.?(?::(\d{1,5}))?$/i;
const ADDRESS = /^(?:(\d{1,3}(?:\.\d{1,3}){3})|\[([0-9a-f:]+)\])(?::(\d{1,5}))?$/i;

/** `example.com`, `*.example.com`, either with a port; an IP address, `[…]` around one of version 6. Null: none of these. */
export function parseAllowedHost(text: string): AllowedHost | null {
  const [, version4, version6, addressPort] = ADDRESS.exec(text) ?? [];
  const address = version4 ?? version6;
  const [, star, name = "", , , namePort] = address === undefined ? (HOST.exec(text) ?? []) : [];
  const port = Number(addressPort ?? namePort ?? HTTPS_PORT);
  if (port < 1 || port > 65_535 || (address ?? name) === "" || text.length > 255) return null;
  return {
    name: (address ?? name).toLowerCase(),
    isBelow: star !== undefined,
    isAddress: address !== undefined,
    port,
  };
}

const EXPECTED = "expected hosts such as example.com, *.example.com or example.com:8443";

/** Of a repository: names alone, since only a host's owner knows what its addresses are. */
export const AllowedHosts = z
  .array(
    z.string().transform((text, context) => {
      const host = parseAllowedHost(text);
      if (host !== null && !host.isAddress) return host;
      context.addIssue(host === null ? EXPECTED : `${EXPECTED}; an address is for a host's owner to allow`);
      return z.NEVER;
    }),
  )
  .max(200);

/** Of a host's owner: with commas between, IP addresses too. */
export const OwnersHosts = z.string().transform((text, context) => {
  const entries = text.split(",").flatMap((entry) => (entry.trim() === "" ? [] : [entry.trim()]));
  const hosts = entries.map(parseAllowedHost);
  if (!hosts.includes(null)) return hosts.filter((host) => host !== null);
  context.addIssue(`${EXPECTED} with commas between, or addresses such as 10.1.2.3:8081`);
  return z.NEVER;
});
