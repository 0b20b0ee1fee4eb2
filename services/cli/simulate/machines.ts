// The machines that `mesh simulate` is asked for: drawn, of given sizes, or like the hosts of a mesh.
import { readFile } from "node:fs/promises";
import { z } from "zod";
import { parseSize } from "../../../shared/config/quantities.ts";
import { explainIssues } from "../../../shared/contracts/unknown-field.ts";
import { drawMachines, type Machine, machinesOf } from "../../simulator/machines.ts";
import { messageOf, UsageError } from "../outcome.ts";
import { wholeOf } from "../tasks/deploy-request.ts";

export interface MachineFlags {
  hosts?: string;
  hostsFile?: string;
}

const MOST_MACHINES = 10_000;

/** The machines for a seed. */
export async function machineSource(flags: MachineFlags): Promise<(seed: number) => Machine[]> {
  if (flags.hostsFile !== undefined) {
    const machines = machinesIn(jsonOf("--hosts-file", await textOf("--hosts-file", flags.hostsFile)));
    return () => machines;
  }
  const { hosts = "50" } = flags;
  if (/^\d+$/.test(hosts)) {
    const count = wholeOf("--hosts", hosts, 1, MOST_MACHINES);
    return (seed) => drawMachines(seed, count);
  }
  const sizes = hosts.split(",").map(sizeOf);
  if (sizes.reduce((sum, { count }) => sum + count, 0) > MOST_MACHINES)
    throw new UsageError(`--hosts: expected ${MOST_MACHINES} machines at most`);
  return (seed) => machinesOf(sizes, seed);
}

function sizeOf(text: string): { count: number; memoryBytes: number; cores: number | null } {
  const [, count = "", size = "", cores] =
    /^\s*([1-9]\d{0,4})x([^:]+?)(?::([1-9]\d{0,3}))?\s*$/.exec(text) ?? [];
  const memoryBytes = parseSize(size);
  if (memoryBytes === null)
    throw new UsageError(`--hosts: expected a number, or sizes such as 8x16GB,2x64GB:24, not "${text}"`);
  return { count: Number(count), memoryBytes, cores: cores === undefined ? null : Number(cores) };
}

const HostLike = z.object({
  cpu: z.object({ cores: z.number().positive(), busy: z.number().min(0).max(1).default(0) }),
  memory: z.object({
    totalBytes: z.number().positive(),
    availableBytes: z.number().nonnegative().optional(),
  }),
  slots: z.object({ total: z.int().positive() }),
  reserved: z.object({ memoryBytes: z.number() }).default({ memoryBytes: 0 }),
  attempts: z.array(z.unknown()).default([]),
});
const HostsLike = z.object({
  data: z.array(HostLike).min(1, "expected one host at least").max(MOST_MACHINES),
});

/** Machines like these hosts; what is used there now and not by attempts is the owner's. */
export function machinesIn(hosts: unknown): Machine[] {
  const parsed = HostsLike.safeParse(hosts);
  if (!parsed.success)
    throw new UsageError(
      `hosts as \`mesh hosts --json\` prints them: ${explainIssues(parsed.error, HostsLike)}`,
    );
  return parsed.data.data.map(({ cpu, memory, slots, reserved, attempts }) => {
    const used = memory.totalBytes - (memory.availableBytes ?? memory.totalBytes) - reserved.memoryBytes;
    const memoryShare = Math.min(1, Math.max(0, used / memory.totalBytes));
    const cpuShare = attempts.length === 0 ? cpu.busy : 0;
    return {
      memoryBytes: memory.totalBytes,
      cores: cpu.cores,
      slots: slots.total,
      owner: { memoryShare, cpuShare },
    };
  });
}

const textOf = (flag: string, file: string): Promise<string> => orSay(flag, () => readFile(file, "utf8"));

export async function orSay<Value>(flag: string, work: () => Promise<Value>): Promise<Value> {
  try {
    return await work();
  } catch (error) {
    throw new UsageError(`${flag}: ${messageOf(error)}`);
  }
}

export function jsonOf(flag: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new UsageError(`${flag}: no JSON text: ${messageOf(error)}`);
  }
}
