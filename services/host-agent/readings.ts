// What the machine is doing and keeps, read in the background at its own pace, so that a slow reading never delays a
// heartbeat: whoever asks gets the last one at once.
import { statfs } from "node:fs/promises";
import { availableParallelism, cpus, totalmem } from "node:os";
import { currentLoad, mem } from "systeminformation";
import { cachesIn } from "./workspace/cache.ts";

/** Bytes, cores, and a share between 0 and 1. */
interface Readings {
  cpu: { cores: number; busy: number; mhz: number };
  memory: { totalBytes: number; availableBytes: number };
  disk: { totalBytes: number; freeBytes: number };
  /** Keys of the repositories in its cache. */
  caches: string[];
}

export interface Meter extends Disposable {
  latest(): Readings;
}

/** Resolves with the first readings taken. `folder` lies on the disk that is measured. */
export async function startMeter(folder: string, cacheDir: string, everyMs: number): Promise<Meter> {
  let latest = await read(folder, cacheDir);
  let reading = false;
  const timer = setInterval(() => {
    if (reading) return;
    reading = true;
    void read(folder, cacheDir)
      .then((readings) => {
        latest = readings;
      })
      // The last one stands; the heartbeat goes on.
      .catch(() => {})
      .finally(() => {
        reading = false;
      });
  }, everyMs);
  timer.unref();
  return { latest: () => latest, [Symbol.dispose]: () => clearInterval(timer) };
}

async function read(folder: string, cacheDir: string): Promise<Readings> {
  const [load, memory, disk, caches] = await Promise.all([
    currentLoad(),
    availableMemory(),
    statfs(folder),
    cachesIn(cacheDir),
  ]);
  return {
    cpu: {
      cores: availableParallelism(),
      busy: Math.min(1, Math.max(0, load.currentLoad / 100)),
      mhz: Math.max(0, ...cpus().map(({ speed }) => speed)),
    },
    memory,
    disk: { totalBytes: disk.blocks * disk.bsize, freeBytes: disk.bavail * disk.bsize },
    caches,
  };
}

/** On Windows systeminformation starts PowerShell for its memory figures; Node's own need no process. */
async function availableMemory(): Promise<Readings["memory"]> {
  if (process.platform === "win32")
    return { totalBytes: totalmem(), availableBytes: process.availableMemory() };
  const { total, available } = await mem();
  return { totalBytes: total, availableBytes: available };
}
