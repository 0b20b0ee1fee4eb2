// What there is where instances are, or will be: its disk, its clones, its virtual machine.
import type { PlaceReading } from "../condition/readings.ts";
import { diskOf } from "../workspace/disk.ts";
import { readVmMemory } from "../wsl/wslconfig.ts";
import type { Machine } from "./machine.ts";

/** Of the disk that trees lie on: while no machine is up, of the one that its disk grows on. */
export async function readPlace(
  machine: Machine | undefined,
  dataDir: string,
  hasVm: boolean,
): Promise<PlaceReading> {
  if (machine !== undefined) return machine.workspaces.readings();
  const disk = await diskOf(dataDir);
  return { disk, caches: [], ...(hasVm ? { vmToComeBytes: await readVmMemory() } : {}) };
}
