// `.wslconfig` of an account, as WSL reads it when its one machine starts: keys, values, and what memory that machine will
// have. It must never take for an answer what WSL itself passes over. Pure but for `readVmMemory`.
import { readFile } from "node:fs/promises";
import { homedir, totalmem } from "node:os";
import path from "node:path";
import { utf16Text } from "./output-text.ts";

const MEBI = 1_048_576;
/** WSL gives its machine no less. */
const VM_LEAST_BYTES = 256 * MEBI;
/** Of the memory of Windows, where the file says nothing. */
const VM_SHARE = 0.5;

const KEYS: Record<string, string[]> = {
  wsl2: [
    ...[
      "memory",
      "processors",
      "swap",
      "swapfile",
      "vmidletimeout",
      "networkingmode",
      "firewall",
      "dnstunneling",
    ],
    ...[
      "autoproxy",
      "localhostforwarding",
      "nestedvirtualization",
      "guiapplications",
      "gpusupport",
      "kernel",
    ],
    ...[
      "kernelboottimeout",
      "distributionstarttimeout",
      "mountdevicetimeout",
      "defaultvhdsize",
      "kernelmodules",
    ],
    ...["kernelcommandline", "debugconsole", "safemode", "maxcrashdumpcount", "dhcp", "ipv6", "dnsproxy"],
    ...["isolatedistrocgroup", "hostfilesystemaccess"],
  ],
  general: ["instanceidletimeout", "distributioninstallpath"],
  experimental: [
    ...["automemoryreclaim", "sparsevhd", "ignoredports", "hostaddressloopback", "besteffortdnsparsing"],
    ...["initialautoproxytimeout"],
  ],
};

export const wslConfigFile = (env: NodeJS.ProcessEnv): string =>
  path.join(env.USERPROFILE ?? homedir(), ".wslconfig");

export type Encoding = "utf-8" | "utf-16 with a mark" | "utf-16 without a mark" | "none";

/** Null for what WSL reads nothing of. */
export function wslConfigText(bytes: Buffer): { text: string | null; encoding: Encoding } {
  if (bytes[0] === 0xff && bytes[1] === 0xfe)
    return { text: utf16Text(bytes.subarray(2)), encoding: "utf-16 with a mark" };
  if (bytes.includes(0)) return { text: null, encoding: "utf-16 without a mark" };
  try {
    return { text: new TextDecoder("utf-8", { fatal: true }).decode(bytes), encoding: "utf-8" };
  } catch {
    return { text: null, encoding: "none" };
  }
}

/** Keys in lower case, with their sections; and lines of which WSL makes nothing. */
export function parseWslConfig(text: string): { values: Map<string, string>; odd: string[] } {
  const values = new Map<string, string>();
  const odd: string[] = [];
  let section = "";
  for (const line of text.split(/\r?\n/).map((one) => one.trim())) {
    if (line === "" || line.startsWith("#")) continue;
    const head = /^\[(.+)\]$/.exec(line)?.[1];
    if (head !== undefined) section = head.trim().toLowerCase();
    const [, key = "", value = ""] = /^([^=]+?)\s*=\s*(.*)$/.exec(line) ?? [];
    const known = KEYS[section]?.includes(key.toLowerCase()) ?? false;
    // A path needs its backslashes doubled.
    const broken = /(^|[^\\])\\($|[^\\])/.test(value);
    if (known) values.set(`${section}.${key.toLowerCase()}`, value);
    if (head === undefined ? !known || broken : KEYS[section] === undefined) odd.push(line.slice(0, 60));
  }
  return { values, odd };
}

/** Of `8GB`, `512MB`, or bytes. */
export function wslSizeOf(text: string): number | null {
  const [, number, unit] = /^(\d+)\s*([kmgt]?)b?$/i.exec(text) ?? [];
  if (number === undefined) return null;
  return Number(number) * 1_024 ** " kmgt".indexOf((unit || " ").toLowerCase());
}

/** What WSL's machine gets of this machine's memory, bytes; `text` null: there is no file that it reads. */
export function vmMemoryBytes(text: string | null, machineBytes: number): number {
  const asked = text === null ? undefined : parseWslConfig(text).values.get("wsl2.memory");
  const bytes = (asked === undefined ? null : wslSizeOf(asked)) ?? VM_SHARE * machineBytes;
  return Math.min(machineBytes, Math.max(VM_LEAST_BYTES, bytes));
}

/** The same, of this account and this machine. */
export async function readVmMemory(env: NodeJS.ProcessEnv = process.env): Promise<number> {
  const bytes = await readFile(wslConfigFile(env)).catch(() => null);
  return vmMemoryBytes(bytes === null ? null : wslConfigText(bytes).text, totalmem());
}
