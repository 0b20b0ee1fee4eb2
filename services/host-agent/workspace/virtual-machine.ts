// What Linux says of its own memory: in a virtual machine the only truth about it, since outside it file cache counts as used.
import { readFile } from "node:fs/promises";
import type { VmReading } from "../../../shared/contracts/heartbeat.ts";

export async function readVirtualMachine(): Promise<VmReading> {
  const [memory, pressure] = await Promise.all([
    readFile("/proc/meminfo", "utf8"),
    // Off in many kernels.
    readFile("/proc/pressure/memory", "utf8").catch(() => ""),
  ]);
  const bytes = (name: string) =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, "m").exec(memory)?.[1] ?? 0) * 1_024;
  const [, percent] = /^some avg10=([\d.]+)/.exec(pressure) ?? [];
  return {
    totalBytes: bytes("MemTotal"),
    availableBytes: bytes("MemAvailable"),
    ...(percent === undefined ? {} : { pressure: Number(percent) / 100 }),
  };
}
