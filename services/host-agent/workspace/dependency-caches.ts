// What package managers keep between attempts, apart for each repository, and apart for its work and its gates: what
// judges the work uses nothing that the work could have put there. Only work that is trusted is ever lent one, and one
// attempt at a time has it.
import { mkdir, readdir, stat, utimes } from "node:fs/promises";
import path from "node:path";
import { execa } from "execa";
import { cacheKey } from "../../../shared/repository/cache-key.ts";
import type { Source } from "./cache.ts";
import { isShort } from "./cache-room.ts";
import { diskOf } from "./disk.ts";
import { removeTree } from "./tree.ts";

export type DependencyUse = "work" | "gates";

export interface DependencyCaches {
  /** The folder to be shown to the attempt; null while another one has it. */
  lend(
    attemptKey: string,
    source: Pick<Source, "cloneUrl" | "sha">,
    use: DependencyUse,
  ): Promise<string | null>;
  /** Nothing of the attempt runs any more: what it was lent may be lent again, if it has not grown too large. */
  takeBack(attemptKey: string): Promise<void>;
}

/** One that has grown beyond it is begun anew. */
export const DEPENDENCIES_MAX_BYTES = 4 * 1_073_741_824;
/** Kept on a host; beyond it the ones that were used longest ago go. */
export const DEPENDENCIES_KEPT = 50;
const MEASURE_MS = 60_000;

export function dependencyCaches(
  folder: string,
  { maximumBytes = DEPENDENCIES_MAX_BYTES, kept = DEPENDENCIES_KEPT } = {},
): DependencyCaches {
  /** By its folder, who has it. */
  const lent = new Map<string, string>();

  async function makeRoom(): Promise<void> {
    const idle = (await readdir(folder).catch(() => []))
      .map((name) => path.join(folder, name))
      .filter((cache) => !lent.has(cache));
    const used = await Promise.all(
      // Another attempt that ends makes room as well.
      idle.map(async (cache) => ({ cache, usedAtMs: (await stat(cache).catch(() => null))?.mtimeMs ?? 0 })),
    );
    const oldest = used.sort((one, other) => one.usedAtMs - other.usedAtMs).map(({ cache }) => cache);
    let tooMany = oldest.length - kept;
    for (const cache of oldest) {
      if (tooMany-- <= 0 && !isShort(await diskOf(folder))) return;
      if (lent.has(cache)) continue;
      // Until it is gone nobody is lent it.
      lent.set(cache, "");
      await removeTree(cache).finally(() => lent.delete(cache));
    }
  }

  return {
    async lend(attemptKey, { cloneUrl, sha }, use) {
      const cache = path.join(folder, `${cacheKey(cloneUrl, sha)}-${use}`);
      if (lent.has(cache)) return null;
      lent.set(cache, attemptKey);
      await mkdir(cache, { recursive: true, mode: 0o700 });
      return cache;
    },
    async takeBack(attemptKey) {
      const mine = [...lent].filter(([, borrower]) => borrower === attemptKey).map(([cache]) => cache);
      if (mine.length === 0) return;
      for (const cache of mine) {
        if (await isLarger(cache, maximumBytes)) await removeTree(cache);
        const now = new Date();
        await utimes(cache, now, now).catch(() => {});
        lent.delete(cache);
      }
      await makeRoom();
    },
  };
}

/** One that cannot be measured counts as too large. */
async function isLarger(cache: string, maximumBytes: number): Promise<boolean> {
  const measured = await execa("du", ["-sk", "--", cache], {
    reject: false,
    stdin: "ignore",
    timeout: MEASURE_MS,
  });
  const kibibytes = Number(/^\d+/.exec(measured.stdout)?.[0]);
  return !(kibibytes * 1_024 <= maximumBytes);
}
