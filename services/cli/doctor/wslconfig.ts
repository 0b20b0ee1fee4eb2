// Checks of `.wslconfig`, which sets up WSL's one machine for all distros of an account: its encoding, its keys, and its
// values against the machine's memory. Pure.
import { REQUEST_DEFAULTS } from "../../../shared/contracts/task.ts";
import { VM_OWN_BYTES } from "../../host-agent/memory-limit.ts";
import { utf16Text } from "../../host-agent/wsl/output-text.ts";
import { formatSize, GIB } from "../terminal/quantities.ts";
import { type Finding, fail, ok, warn } from "./finding.ts";

/** Of the memory, what the owner keeps at least. */
const OWNER_SHARE = 0.2;
const IDLE_LOWEST_MS = 5_000;

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

export interface WslConfigReading {
  /** Null: there is none. */
  bytes: Buffer | null;
  memoryBytes: number;
  slots: number;
  /** Whether Linux tells of pressure; null: not looked at. */
  pressure: boolean | null;
}

export function judgeWslConfig({ bytes, memoryBytes, slots, pressure }: WslConfigReading): Finding[] {
  const { text, finding } = textOf(bytes);
  if (text === null) return [finding];
  const { values, odd } = parse(text);
  return [
    odd.length === 0
      ? finding
      : warn(
          ".wslconfig",
          `not understood, and passed over by WSL: ${odd.join(", ")}`,
          "correct these lines",
        ),
    judgeMemory(values.get("wsl2.memory"), memoryBytes, slots),
    judgeIdle(values),
    ...judgePressure(pressure, values.get("wsl2.kernelcommandline") ?? ""),
  ];
}

function textOf(bytes: Buffer | null): { text: string; finding: Finding } | { text: null; finding: Finding } {
  const check = ".wslconfig";
  const fix = "save it as plain UTF-8 (Notepad: Save as, Encoding UTF-8), then `wsl --shutdown`";
  if (bytes === null) return { text: "", finding: ok(check, "there is none: WSL's defaults hold") };
  if (bytes[0] === 0xff && bytes[1] === 0xfe)
    return {
      text: utf16Text(bytes.subarray(2)),
      finding: warn(check, "is UTF-16, which works by luck", fix),
    };
  if (bytes.includes(0))
    return { text: null, finding: fail(check, "is UTF-16 without a mark: WSL reads none of it", fix) };
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    return { text, finding: ok(check, "plain UTF-8") };
  } catch {
    return { text: null, finding: fail(check, "is no UTF-8", fix) };
  }
}

/** Keys in lower case, with their sections; and lines of which WSL makes nothing. */
function parse(text: string): { values: Map<string, string>; odd: string[] } {
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

function judgeMemory(text: string | undefined, memoryBytes: number, slots: number): Finding {
  const check = "memory of WSL";
  const limit = REQUEST_DEFAULTS.memoryLimitBytes;
  const asked = text === undefined ? memoryBytes / 2 : bytesOf(text);
  if (asked === null) return warn(check, `memory=${text} is no size`, "write it as memory=12GB");
  const given = Math.min(asked, memoryBytes);
  const found = `${formatSize(given)} of ${formatSize(memoryBytes)}${text === undefined ? ", by default" : ""}`;
  const wanted = slots * limit + VM_OWN_BYTES;
  const most = (1 - OWNER_SHARE) * memoryBytes;
  const fits = Math.max(1, Math.floor((Math.min(given, most) - VM_OWN_BYTES) / limit));
  if (given > most)
    return warn(
      check,
      `${found}: little is left for this machine's owner`,
      `write memory=${Math.floor(most / GIB)}GB`,
    );
  if (given < wanted)
    return warn(
      check,
      `${found}, for ${slots} attempts of up to ${formatSize(limit)}: one too large takes the others with it`,
      wanted <= most
        ? `write memory=${Math.ceil(wanted / GIB)}GB, then \`wsl --shutdown\``
        : `set MESH_HOST_SLOTS=${fits}`,
    );
  return ok(check, found);
}

/** Of `8GB`, `512MB`, or bytes. */
function bytesOf(text: string): number | null {
  const [, number, unit] = /^(\d+)\s*([kmgt]?)b?$/i.exec(text) ?? [];
  if (number === undefined) return null;
  return Number(number) * 1_024 ** " kmgt".indexOf((unit || " ").toLowerCase());
}

function judgeIdle(values: Map<string, string>): Finding {
  const [instance, machine] = ["general.instanceidletimeout", "wsl2.vmidletimeout"].map((key) =>
    values.get(key),
  );
  const found = `${instance ?? "15000"} ms for a distro, ${machine ?? "60000"} ms for the machine`;
  const short = [instance, machine].some(
    (value) => value !== undefined && Number(value) >= 0 && Number(value) < IDLE_LOWEST_MS,
  );
  return short
    ? warn(
        "idle time-outs",
        found,
        `write ${IDLE_LOWEST_MS} or more, or -1 for never: each start costs seconds`,
      )
    : ok("idle time-outs", found);
}

const judgePressure = (pressure: boolean | null, commandLine: string): Finding[] =>
  pressure === null
    ? []
    : [
        pressure
          ? ok("pressure", "Linux tells of it")
          : warn(
              "pressure",
              "Linux does not tell when memory is short",
              commandLine.includes("psi=1")
                ? "run `wsl --shutdown`, after which psi=1 holds; a kernel before 6.6 has none"
                : "write kernelCommandLine=psi=1 into .wslconfig under [wsl2], then `wsl --shutdown`",
            ),
      ];
