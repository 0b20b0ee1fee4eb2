// Sees when the disk that attempts work on runs full, and which of them has the most of it: that one is ended, so that
// the machine stays of use to the others.
import { execFile } from "node:child_process";
import { statfs } from "node:fs/promises";

export interface DiskUse {
  /** On one disk; all of the attempt's. */
  folders: string[];
  /** So much of that disk is to stay free, bytes; of a small disk a small share. */
  keepFreeBytes: number;
}

export interface DiskUser {
  /** What it has while it may be ended for it. */
  diskUse(): DiskUse | null;
  /** It has been ended for it, and its folders may still be there. */
  readonly hasFilledDisk: boolean;
  endForDisk(): void;
}

const LOOK_MS = 500;
/** Of a disk, for small ones: half the share below which a host begins nothing (`shared/contracts/disk-floor.ts`). */
const FREE_SHARE = 0.025;
/** One that has been ended leaves room once its folders are removed, which takes a while, ms. */
const REMOVAL_MS = 10_000;
/** A tree that takes longer to measure is a large one, ms. */
const MEASURE_MS = 20_000;

export class DiskWatch {
  #dueMs = Number.NEGATIVE_INFINITY;
  #looking = false;
  /** When one that has been ended was last there. */
  #filledAtMs = Number.NEGATIVE_INFINITY;

  /** Called often; looks when it is time to, and never waits for the disk. */
  look(nowMs: number, users: Iterable<DiskUser>): void {
    if (nowMs < this.#dueMs || this.#looking) return;
    this.#dueMs = nowMs + LOOK_MS;
    const known = [...users];
    if (known.some(({ hasFilledDisk }) => hasFilledDisk)) this.#filledAtMs = nowMs;
    if (nowMs - this.#filledAtMs < REMOVAL_MS) return;
    this.#looking = true;
    void endLargest(known).finally(() => {
      this.#looking = false;
    });
  }
}

async function endLargest(users: DiskUser[]): Promise<void> {
  const short: { user: DiskUser; bytes: number }[] = [];
  for (const user of users) {
    const use = user.diskUse();
    if (use !== null && (await isShort(use))) short.push({ user, bytes: await sizeOf(use.folders) });
  }
  const [largest] = short.toSorted((one, other) => other.bytes - one.bytes);
  largest?.user.endForDisk();
}

/** By whichever of its folders an attempt has left in its place. */
async function isShort({ folders, keepFreeBytes }: DiskUse): Promise<boolean> {
  for (const folder of folders) {
    const disk = await statfs(folder).catch(() => null);
    if (disk === null) continue;
    const { blocks, bavail, bsize } = disk;
    return bavail * bsize < Math.min(keepFreeBytes, FREE_SHARE * blocks * bsize);
  }
  return false;
}

/** By a process of its own: a large tree takes its time. What that may not read, it leaves out. */
const sizeOf = (folders: string[]): Promise<number> =>
  new Promise((resolve) => {
    execFile("du", ["-skx", "--", ...folders], { timeout: MEASURE_MS }, (error, stdout) => {
      const kibibytes = [...stdout.matchAll(/^(\d+)/gm)].map(([, count]) => Number(count));
      resolve(
        error?.killed ? Number.POSITIVE_INFINITY : 1_024 * kibibytes.reduce((sum, each) => sum + each, 0),
      );
    });
  });
