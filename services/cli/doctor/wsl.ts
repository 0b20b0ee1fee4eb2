// Checks of WSL: its program and version, the distros, and what the one of the mesh is like inside. Pure.
import { GOLDEN_DISTRO } from "../../host-agent/wsl/distro-layout.ts";
import type { Distro, WslVersion } from "../../host-agent/wsl/listing.ts";
import type { WslFailure } from "../../host-agent/wsl/wsl-error.ts";
import { formatSize, GIB } from "../terminal/quantities.ts";
import { clockFinding, type Finding, fail, ok, warn } from "./finding.ts";

export type WslReading =
  | { failure: WslFailure }
  | {
      program: string;
      version: WslVersion | { failure: WslFailure };
      distros: Distro[];
      /** Running ones that have systemd. */
      withSystemd: string[];
      /** Of the mesh's own; null: there is none. */
      guest: GuestReading | { failure: WslFailure } | null;
    };

export interface GuestReading {
  aheadMs: number;
  pressure: boolean;
  /** By its `/etc/wsl.conf`. */
  interop: boolean;
  drives: boolean;
  disk: { usedBytes: number; freeBytes: number };
  bubblewrap: boolean;
  /** Programs of agents on its PATH. */
  agents: string[];
  /** Of control groups, version 2. */
  controllers: string[];
}

const CONTROLLERS = ["memory", "pids", "cpu"];

/** Since then the idle time-out of distros can be set. */
const LOWEST = [2, 5, 8];
/** Up to here distros share one tree of control groups. */
const SHARED_UNTIL = [2, 9, 4];
const UPDATE = "run `wsl --update` as administrator";

export function judgeWsl(reading: WslReading): Finding[] {
  if ("failure" in reading) return [failureFinding("wsl", reading.failure)];
  const { program, version, distros, withSystemd, guest } = reading;
  const ours = distros.find(({ name }) => name === GOLDEN_DISTRO);
  return [
    ok("wsl.exe", program),
    judgeVersion(version),
    ours === undefined
      ? fail(
          "distro",
          `there is no ${GOLDEN_DISTRO} for this account`,
          "make it by `mesh host image` (docs/windows.md)",
        )
      : ours.wslVersion !== 2
        ? fail("distro", `${GOLDEN_DISTRO} is of WSL 1`, `wsl --set-version ${GOLDEN_DISTRO} 2`)
        : ok("distro", `${GOLDEN_DISTRO}, ${ours.state}`),
    judgeSystemd(withSystemd, version),
    ...(guest === null
      ? []
      : "failure" in guest
        ? [failureFinding("inside", guest.failure)]
        : judgeGuest(guest)),
  ];
}

function judgeVersion(version: WslVersion | { failure: WslFailure }): Finding {
  if ("failure" in version) {
    // A build that came with Windows knows no --version.
    if (version.failure.reason === "unknown" && version.failure.code === null)
      return fail("wsl version", "does not tell, as the one that came with Windows", UPDATE);
    return failureFinding("wsl version", version.failure);
  }
  const found = `${version.wsl}, kernel ${version.kernel}, Windows ${version.windows}`;
  return isBefore(version.wsl, LOWEST)
    ? fail("wsl version", found, `${UPDATE}: ${LOWEST.join(".")} is the lowest`)
    : ok("wsl version", found);
}

function judgeSystemd(running: string[], version: WslVersion | { failure: WslFailure }): Finding {
  const shared =
    "failure" in version || !isBefore([...SHARED_UNTIL, 0].join("."), version.wsl.split(".").map(Number));
  if (running.length < 2 || !shared)
    return ok("systemd", running.length === 0 ? "in no running distro" : `in ${running.join(", ")}`);
  return warn(
    "systemd",
    `in ${running.join(", ")} at once, which fight over one tree of control groups`,
    "stop all but one (`wsl --terminate NAME`), or switch it off in /etc/wsl.conf",
  );
}

function judgeGuest({ aheadMs, interop, drives, disk, bubblewrap, controllers }: GuestReading): Finding[] {
  const missing = CONTROLLERS.filter((name) => !controllers.includes(name));
  const left = `${formatSize(disk.usedBytes)} used, ${formatSize(disk.freeBytes)} free`;
  const conf = `correct /etc/wsl.conf in ${GOLDEN_DISTRO}, then \`wsl --terminate ${GOLDEN_DISTRO}\``;
  return [
    clockFinding(
      "clock of WSL",
      aheadMs,
      "this machine",
      "a host agent at work sets it; if that does not hold, `wsl --shutdown`",
    ),
    interop
      ? fail(
          "interop",
          "on: what runs inside can start Windows programs as this account",
          `[interop] enabled=false: ${conf}`,
        )
      : ok("interop", "off"),
    drives
      ? fail("drives", "mounted: what runs inside sees Windows' disks", `[automount] enabled=false: ${conf}`)
      : ok("drives", "not mounted"),
    disk.freeBytes < 5 * GIB
      ? fail("disk of WSL", left, "remove work and caches in it, or enlarge it: wsl --manage NAME --resize")
      : ok("disk of WSL", left),
    bubblewrap
      ? ok("bubblewrap", "in the distro")
      : fail("bubblewrap", "not in the distro", "make the image anew by `mesh host image`"),
    missing.length === 0
      ? ok("limits", "control groups hold memory, processes and CPU time")
      : warn(
          "limits",
          `no control groups for ${missing.join(", ")}`,
          `cgroups=v2 under [automount]: ${conf}`,
        ),
  ];
}

/** The disk only grows: what it is larger than what is in it, a compaction gives back. */
export function judgeGrowth(file: string, bytes: number, usedBytes: number): Finding[] {
  const found = `the disk of ${GOLDEN_DISTRO} is ${formatSize(bytes)} for ${formatSize(usedBytes)} in it`;
  const wasted = bytes - usedBytes;
  if (wasted < 10 * GIB || wasted < bytes / 3) return [ok("disk growth", found)];
  return [
    warn(
      "disk growth",
      found,
      `as administrator: \`wsl -d ${GOLDEN_DISTRO} -u root -e fstrim /\`, \`wsl --shutdown\`, then in diskpart: select vdisk file="${file}", attach vdisk readonly, compact vdisk, detach vdisk`,
    ),
  ];
}

const FIXES: Partial<Record<WslFailure["reason"], string>> = {
  "no-wsl": "install WSL: `wsl --install --no-distribution`, or set MESH_WSL_EXE to its full path",
  hung: "run `wsl --shutdown`; if that hangs too, restart the service WSLService",
  "service-broken": "run `wsl --shutdown`; if that does not help, restart the service WSLService",
  "no-vm": "switch virtualization on in the BIOS, and the feature VirtualMachinePlatform in Windows",
  "wrong-account": "run as an account that has distros, not as LocalSystem (`mesh host install`)",
  corrupt: "make the distro anew by `mesh host image`",
  "disk-full": "free some of the drive that the distro's disk lies on",
};

const failureFinding = (check: string, { reason, code, message }: WslFailure): Finding =>
  fail(
    check,
    code === null ? message : `${code}: ${message}`,
    FIXES[reason] ?? "see what `wsl --status` says",
  );

function isBefore(version: string, than: number[]): boolean {
  const parts = version.split(".").map(Number);
  const at = than.findIndex((part, index) => (parts[index] ?? 0) !== part);
  return at !== -1 && (parts[at] ?? 0) < (than[at] ?? 0);
}
