// Which addresses an instance may be led to: those of the internet, never this machine's, its network's, or what only
// looks like a name of somewhere else. Pure.
import { BlockList, isIP, type LookupFunction } from "node:net";

/** What is nobody's on the internet (IANA's special-purpose registries): this machine, private, link-local, reserved. */
const SPECIAL: [network: string, prefix: number][] = [
  ["0.0.0.0", 8],
  ["10.0.0.0", 8],
  ["100.64.0.0", 10],
  ["127.0.0.0", 8],
  ["169.254.0.0", 16],
  ["172.16.0.0", 12],
  ["192.0.0.0", 24],
  ["192.0.2.0", 24],
  ["192.88.99.0", 24],
  ["192.168.0.0", 16],
  ["198.18.0.0", 15],
  ["198.51.100.0", 24],
  ["203.0.113.0", 24],
  ["224.0.0.0", 4],
  ["240.0.0.0", 4],
];
/** Of version 6 only what is given out at all (2000::/3), less what leads back to version 4 or is for documents. */
const GIVEN_OUT = new BlockList();
GIVEN_OUT.addSubnet("2000::", 3, "ipv6");
const SPECIAL_6: [network: string, prefix: number][] = [
  ["2001::", 23],
  ["2001:db8::", 32],
  ["2002::", 16],
  ["3fff::", 20],
];

const special = new BlockList();
for (const [network, prefix] of SPECIAL) special.addSubnet(network, prefix, "ipv4");
for (const [network, prefix] of SPECIAL_6) special.addSubnet(network, prefix, "ipv6");

export function isOnInternet(address: string): boolean {
  const version = isIP(address);
  if (version === 4) return !special.check(address, "ipv4");
  return version === 6 && GIVEN_OUT.check(address, "ipv6") && !special.check(address, "ipv6");
}

/** For a connection that is to lead to these alone, whatever its name means by then; the first that answers has it. */
export const givingOnly =
  ([first = "", ...others]: string[]): LookupFunction =>
  (_name, { all }, done) => {
    if (!all) return done(null, first, isIP(first));
    done(
      null,
      [first, ...others].map((address) => ({ address, family: isIP(address) })),
    );
  };
