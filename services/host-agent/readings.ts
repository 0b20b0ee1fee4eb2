// What the machine is doing and keeps, read in the background at its own pace, so that a slow reading never delays a
// heartbeat: whoever asks gets the last one at once.
import { availableParallelism, cpus, totalmem } from "node:os";
import { currentLoad, mem } from "systeminformation";
import type { WorkspaceReadings, Workspaces } from "./workspace/workspaces.ts";

/** Bytes, cores, and a share between 0 and 1. */
interface Readings extends WorkspaceReadings {
  cpu: { cores: number; busy: number; mhz: number };
  memory: { totalBytes: number; availableBytes: number };
}

export interface Meter extends Disposable {
  latest(): Readings;
}

/** Resolves with the first readings taken. */
export async function startMeter(workspaces: Workspaces, everyMs: number): Promise<Meter> {
  let latest = await read(workspaces);
  let reading = false;
  const timer = setInterval(() => {
    if (reading) return;
    reading = true;
    void read(workspaces)
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

async function read(workspaces: Workspaces): Promise<Readings> {
  const [load, memory, ofWorkspaces] = await Promise.all([
    currentLoad(),
    availableMemory(),
    workspaces.readings(),
  ]);
  return {
    cpu: {
      cores: availableParallelism(),
      busy: Math.min(1, Math.max(0, load.currentLoad / 100)),
      mhz: Math.max(0, ...cpus().map(({ speed }) => speed)),
    },
    memory,
    ...ofWorkspaces,
  };
}

/** On Windows systeminformation starts PowerShell for its memory figures; Node's own need no process. */
async function availableMemory(): Promise<Readings["memory"]> {
  if (process.platform === "win32")
    return { totalBytes: totalmem(), availableBytes: process.availableMemory() };
  const { total, available } = await mem();
  return { totalBytes: total, availableBytes: available };
}
