// Builder of heartbeats for tests: an idle host of 8 GiB and two slots.
import type { Heartbeat } from "../../shared/contracts/heartbeat.ts";

const GIB = 1_073_741_824;

export const heartbeat = (overrides: Partial<Heartbeat> = {}): Heartbeat => ({
  hostId: "h1",
  installation: "i1",
  boot: 1,
  counter: 1,
  heartbeatMs: 2_000,
  cpu: { cores: 4, busy: 0.1, mhz: 3_000 },
  memory: { totalBytes: 8 * GIB, availableBytes: 8 * GIB },
  disk: { totalBytes: 100 * GIB, freeBytes: 50 * GIB },
  slots: { total: 2, free: 2 },
  reserved: { memoryBytes: 0, cpus: 0 },
  attempts: [],
  labels: {},
  caches: [],
  runners: ["command"],
  secrets: [],
  isolation: "sandbox",
  untrusted: false,
  draining: false,
  stopping: false,
  withheld: null,
  versions: {},
  ...overrides,
});
