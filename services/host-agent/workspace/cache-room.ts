// How much the caches of repositories may have of a disk, and which of them give way: those that were used longest ago.
// The latest one stays.
import { readdir, stat } from "node:fs/promises";
import path from "node:path";
import { cacheFloorBytes } from "../../../shared/contracts/disk-floor.ts";
import { diskOf } from "./disk.ts";

/** Caches kept on a host. */
export const CACHES_KEPT = 50;
/** What they may come to. A virtual machine's own disk seems large; the one that it grows on need not be. */
export const CACHES_MAX_BYTES = 20 * 1_073_741_824;

export interface KeptCache {
  folder: string;
  usedAtMs: number;
  bytes: number;
}

type Disk = Awaited<ReturnType<typeof diskOf>>;

/** So little is free that caches give way. */
export const isShort = (disk: Disk): boolean => disk.freeBytes < cacheFloorBytes(disk.totalBytes);

/** Pure. */
export function cachesToDrop(caches: KeptCache[], disk: Disk): KeptCache[] {
  const oldestFirst = caches.toSorted((one, other) => one.usedAtMs - other.usedAtMs);
  let count = caches.length;
  let bytes = caches.reduce((sum, cache) => sum + cache.bytes, 0);
  let lackingBytes = cacheFloorBytes(disk.totalBytes) - disk.freeBytes;
  const dropped: KeptCache[] = [];
  for (const cache of oldestFirst.slice(0, -1)) {
    if (count <= CACHES_KEPT && bytes <= CACHES_MAX_BYTES && lackingBytes <= 0) break;
    count--;
    bytes -= cache.bytes;
    lackingBytes -= cache.bytes;
    dropped.push(cache);
  }
  return dropped;
}

const measured = new Map<string, KeptCache>();

/** Each is measured once for each time that it was used. */
export async function keptCaches(cacheDir: string): Promise<KeptCache[]> {
  const names = await readdir(cacheDir).catch(() => []);
  return Promise.all(names.map((name) => keptCache(path.join(cacheDir, name))));
}

async function keptCache(folder: string): Promise<KeptCache> {
  const usedAtMs = (await stat(path.join(folder, "HEAD")).catch(() => null))?.mtimeMs ?? 0;
  const known = measured.get(folder);
  if (known?.usedAtMs === usedAtMs) return known;
  const cache = { folder, usedAtMs, bytes: await bytesOf(folder) };
  measured.set(folder, cache);
  return cache;
}

async function bytesOf(folder: string): Promise<number> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
  let bytes = 0;
  for (const entry of entries)
    if (entry.isFile())
      bytes += (await stat(path.join(entry.parentPath, entry.name)).catch(() => null))?.size ?? 0;
  return bytes;
}

export const forgetCache = (folder: string): void => void measured.delete(folder);
