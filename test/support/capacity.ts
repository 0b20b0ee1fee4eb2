// Builder of what a host judges its capacity by: an idle one of 16 GiB with two slots.
import type { Capacity } from "../../services/host-agent/held/admission.ts";

const GIB = 1_073_741_824;

export const capacity = (overrides: Partial<Capacity> = {}): Capacity => ({
  slots: 2,
  labels: { os: "linux" },
  versions: { node: "24.0.0" },
  runners: ["command"],
  secrets: [],
  takesStrangers: false,
  cores: 4,
  memoryTotalBytes: 16 * GIB,
  memoryAvailableBytes: 16 * GIB,
  diskTotalBytes: 100 * GIB,
  diskFreeBytes: 50 * GIB,
  draining: false,
  withheld: null,
  ...overrides,
});
