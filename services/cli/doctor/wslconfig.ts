// Checks of `.wslconfig`, which sets up WSL's one machine for all distros of an account: its encoding, its keys, and its
// values against the machine's memory. Pure.
import { REQUEST_DEFAULTS } from "../../../shared/contracts/deploy-request.ts";
import { VM_OWN_BYTES } from "../../host-agent/held/memory-limit.ts";
import { parseWslConfig, vmMemoryBytes, wslConfigText, wslSizeOf } from "../../host-agent/wsl/wslconfig.ts";
import { formatSize, GIB } from "../terminal/quantities.ts";
import { type Finding, fail, ok, warn } from "./finding.ts";

/** Of the memory, what the owner keeps at least. */
const OWNER_SHARE = 0.2;
const IDLE_LOWEST_MS = 5_000;

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
  const { values, odd } = parseWslConfig(text);
  return [
    odd.length === 0
      ? finding
      : warn(
          ".wslconfig",
          `not understood, and passed over by WSL: ${odd.join(", ")}`,
          "correct these lines",
        ),
    judgeMemory(text, values.get("wsl2.memory"), memoryBytes, slots),
    judgeIdle(values),
    ...judgePressure(pressure, values.get("wsl2.kernelcommandline") ?? ""),
  ];
}

function textOf(bytes: Buffer | null): { text: string | null; finding: Finding } {
  const check = ".wslconfig";
  const fix = "save it as plain UTF-8 (Notepad: Save as, Encoding UTF-8), then `wsl --shutdown`";
  if (bytes === null) return { text: "", finding: ok(check, "there is none: WSL's defaults hold") };
  const { text, encoding } = wslConfigText(bytes);
  switch (encoding) {
    case "utf-8":
      return { text, finding: ok(check, "plain UTF-8") };
    case "utf-16 with a mark":
      return { text, finding: warn(check, "is UTF-16, which works by luck", fix) };
    case "utf-16 without a mark":
      return { text, finding: fail(check, "is UTF-16 without a mark: WSL reads none of it", fix) };
    case "none":
      return { text, finding: fail(check, "is no UTF-8", fix) };
  }
}

function judgeMemory(config: string, text: string | undefined, memoryBytes: number, slots: number): Finding {
  const check = "memory of WSL";
  const limit = REQUEST_DEFAULTS.memoryLimitBytes;
  if (text !== undefined && wslSizeOf(text) === null)
    return warn(check, `memory=${text} is no size`, "write it as memory=12GB");
  const given = vmMemoryBytes(config, memoryBytes);
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
