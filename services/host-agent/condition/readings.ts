// What the machine is doing and keeps, each thing read in the background at its own pace, so that a slow reading never
// delays a heartbeat. Nothing in it starts a process on Linux and Windows.
import { availableParallelism, cpus, freemem, totalmem } from "node:os";
import { currentLoad, mem } from "systeminformation";
import type { MemoryReading } from "../../../shared/contracts/heartbeat.ts";
import type { WorkspaceReadings } from "../workspace/workspaces.ts";
import { type Gauge, gauge } from "./gauge.ts";

/** Cores, and a share between 0 and 1. */
interface Load {
  cores: number;
  busy: number;
  mhz: number;
}

export interface PlaceReading extends WorkspaceReadings {
  /** By its settings, of the virtual machine that attempts will run in; left out where it is up, or there is none, bytes. */
  vmToComeBytes?: number;
}

export interface Meter extends Disposable {
  load(): Load;
  machine(): MemoryReading;
  place(): PlaceReading;
  /** Reads the place now: it may have become another one. */
  readPlace(): void;
  /** What has not been read for too long for anything to begin on it, in words; null if all is well. */
  stuck(): string | null;
}

const EVERY_MS = 1_000;
/** The first heartbeat waits for first readings so long, and no longer. */
const FIRST_MS = 2_000;
/** An older reading tells nothing of what there is room for now, ms. */
const STALE_MS = 30_000;

/** `readPlace` tells of where attempts' trees lie and where they run. */
export async function startMeter(readPlace: () => Promise<PlaceReading>): Promise<Meter> {
  using stack = new DisposableStack();
  const kept = <Value>(initial: Value, read: () => Promise<Value>): Gauge<Value> =>
    stack.use(gauge(initial, read, { everyMs: EVERY_MS }));
  const load = kept({ cores: availableParallelism(), busy: 1, mhz: 0 }, readLoad);
  const machine = kept({ totalBytes: totalmem(), availableBytes: 0 }, readMemory);
  const place = kept<PlaceReading>({ disk: { totalBytes: 0, freeBytes: 0 }, caches: [] }, readPlace);
  await Promise.all([load, machine, place].map((one) => one.first(FIRST_MS)));
  const owned = stack.move();
  return {
    load: load.latest,
    machine: machine.latest,
    place: place.latest,
    readPlace: place.read,
    stuck: () =>
      stuckInWords("its load and memory", Math.max(load.ageMs(), machine.ageMs())) ??
      stuckInWords("its disk", place.ageMs()),
    [Symbol.dispose]: () => owned.dispose(),
  };
}

const stuckInWords = (what: string, ageMs: number): string | null =>
  ageMs < STALE_MS
    ? null
    : `${what} could not be read ${ageMs === Number.POSITIVE_INFINITY ? "yet" : `for ${Math.round(ageMs / 1_000)} s`}`;

async function readLoad(): Promise<Load> {
  const { currentLoad: percent } = await currentLoad();
  return {
    cores: availableParallelism(),
    busy: Math.min(1, Math.max(0, percent / 100)),
    mhz: Math.max(0, ...cpus().map(({ speed }) => speed)),
  };
}

/**
 * Node's own figure is what the kernel could give out, on Linux and Windows. On macOS it leaves out what is only kept in
 * case; systeminformation knows, by starting a small program. (On Windows that would be PowerShell.)
 */
async function readMemory(): Promise<MemoryReading> {
  if (process.platform !== "darwin") return { totalBytes: totalmem(), availableBytes: freemem() };
  const { total, available } = await mem();
  return { totalBytes: total, availableBytes: available };
}
