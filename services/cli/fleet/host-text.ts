// One host in full, as a person reads it: what it has, what is taken from that, what runs there. Pure.
import type { HostView } from "../../../shared/contracts/api.ts";
import { CLOCK_WRONG_MS, type MemoryReading, type VmReading } from "../../../shared/contracts/heartbeat.ts";
import { plainLine } from "../terminal/plain-text.ts";
import { formatDuration, formatSize } from "../terminal/quantities.ts";
import { properties } from "../terminal/table.ts";

const free = ({ availableBytes, totalBytes }: MemoryReading): string =>
  `${formatSize(availableBytes)} of ${formatSize(totalBytes)} free`;

/** A percent is what busy machines have. */
const waits = ({ pressure = 0 }: VmReading): string =>
  pressure < 0.02 ? "" : `, ${Math.round(100 * pressure)} % of the time waited for`;

const pairs = (of: Record<string, string>): string | null => {
  const words = Object.entries(of).map(([name, value]) => `${name}=${value}`);
  return words.length === 0 ? null : plainLine(words.join(" "));
};

export function hostText(host: HostView, nowMs: number): string {
  const { memoryOf, attempts, cpu, disk, slots, owner, withheld, lastResume } = host;
  return (
    `${plainLine(host.hostId)}\n` +
    properties([
      ["seen", `${formatDuration(nowMs - Date.parse(host.lastSeenAt))} ago`],
      ["begins work", withheld === null ? null : plainLine(`no: ${withheld.why}`)],
      ["owner", owner === undefined ? null : ownerInWords(owner)],
      ["power", owner === undefined || owner.power === "unknown" ? null : owner.power],
      ["slots", `${slots.free} of ${slots.total} free`],
      ["cpu", `${Math.round(cpu.busy * 100)} % of ${cpu.cores} cores busy`],
      ["memory", `${free(host.memory)} for attempts`],
      ["of the machine", memoryOf === undefined ? null : free(memoryOf.machine)],
      ["of its VM", memoryOf?.vm ? `${free(memoryOf.vm)}${waits(memoryOf.vm)}` : null],
      ["clock of its VM", host.vmClockAheadMs === undefined ? null : clockInWords(host.vmClockAheadMs)],
      ["kept for owner", memoryOf?.keptBytes ? formatSize(memoryOf.keptBytes) : null],
      ["disk", `${formatSize(disk.freeBytes)} of ${formatSize(disk.totalBytes)} free`],
      ["isolation", plainLine(host.isolation)],
      ["networks", host.networks === undefined ? null : plainLine(host.networks.join(", "))],
      ["labels", pairs(host.labels)],
      ["secrets", host.secrets.map(({ name }) => plainLine(name)).join(", ") || null],
      ["versions", pairs(host.versions)],
      [
        "last woke",
        lastResume === undefined ? null : `${lastResume.at}, after ${formatDuration(lastResume.gapMs)}`,
      ],
      ...attempts.map(({ taskId, attempt, use }): [string, string] => [
        "runs",
        `${plainLine(taskId)} (attempt ${attempt})${use === undefined ? "" : usedBy(use)}`,
      ]),
    ])
  );
}

/** Null while it is as right as one can tell from here. */
function clockInWords(aheadMs: number): string | null {
  if (Math.abs(aheadMs) <= CLOCK_WRONG_MS) return null;
  return `${formatDuration(Math.abs(aheadMs))} ${aheadMs > 0 ? "ahead of" : "behind"} the machine's: the host sets it, or \`wsl --shutdown\` helps`;
}

function ownerInWords({ presence, idleMs }: NonNullable<HostView["owner"]>): string | null {
  if (presence === "unknown") return null;
  return idleMs === null ? presence : `${presence}, idle for ${formatDuration(idleMs)}`;
}

function usedBy({ memoryBytes, cpus }: NonNullable<HostView["attempts"][number]["use"]>): string {
  const words = [
    ...(memoryBytes === undefined ? [] : [formatSize(memoryBytes)]),
    ...(cpus === undefined ? [] : [`${cpus.toFixed(1)} cores`]),
  ];
  return words.length === 0 ? "" : `: ${words.join(", ")}`;
}
