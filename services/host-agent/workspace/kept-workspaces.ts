// The trees of failed attempts that somebody wants to look at, on the host where they were: for a while, so many, and
// only while the disk has room. What is kept is never run by the mesh again.
import { mkdir, readdir, readFile, rename, stat, writeFile } from "node:fs/promises";
import path from "node:path";
import { z } from "zod";
import { isShort } from "./cache-room.ts";
import { diskOf } from "./disk.ts";
import { removeTree } from "./tree.ts";

export const KeptWorkspace = z.object({
  taskId: z.string(),
  attempt: z.int(),
  attemptKey: z.string(),
  repository: z.string(),
  sha: z.string(),
  /** Why it failed, in words. */
  failure: z.string(),
  until: z.iso.datetime(),
});
export type KeptWorkspace = z.infer<typeof KeptWorkspace>;

export const KEPT_MS = 24 * 3_600_000;
export const KEPT_MOST = 5;
/** What has had its time is gone so soon after it, ms. */
export const SWEEP_MS = 60_000;
/** Below the folder of all that a host has in one place. */
export const KEPT_FOLDER = "kept";
const RECORD = "kept.json";
const TREES = "trees";

export interface KeptWorkspaces {
  /** Takes the folder with an attempt's trees; until when it is kept, ISO 8601, or null if there is no room. */
  keep(trees: string, about: Omit<KeptWorkspace, "until">): Promise<string | null>;
  /** Called now and then: removes what nobody may want any more. */
  sweep(): Promise<void>;
}

export function keptWorkspaces(folder: string, nowMs: () => number = Date.now): KeptWorkspaces {
  async function sweep(most: number): Promise<void> {
    const kept = (await keptIn(folder)).toSorted((one, other) => one.untilMs - other.untilMs);
    let tooMany = kept.length - most;
    for (const { place, untilMs } of kept)
      if (tooMany-- > 0 || untilMs <= nowMs() || isShort(await diskOf(folder))) await removeTree(place);
  }
  return {
    async keep(trees, about) {
      if ((await stat(trees).catch(() => null)) === null) return null;
      await mkdir(folder, { recursive: true, mode: 0o700 });
      await sweep(KEPT_MOST - 1);
      if (isShort(await diskOf(folder))) return null;
      const place = path.join(folder, `${about.taskId}.${about.attempt}`);
      const until = new Date(nowMs() + KEPT_MS).toISOString();
      await removeTree(place);
      await mkdir(place, { mode: 0o700 });
      await writeFile(path.join(place, RECORD), JSON.stringify({ ...about, until }));
      await rename(trees, path.join(place, TREES));
      return until;
    },
    sweep: () => sweep(KEPT_MOST),
  };
}

/** What is kept of a task's latest attempt that left anything, with the folder of its trees; null if nothing is. */
export async function findKept(
  folder: string,
  taskId: string,
): Promise<{ about: KeptWorkspace; trees: string } | null> {
  const mine = (await keptIn(folder)).flatMap(({ about, place }) =>
    about?.taskId === taskId ? [{ about, trees: path.join(place, TREES) }] : [],
  );
  return mine.toSorted((one, other) => other.about.attempt - one.about.attempt)[0] ?? null;
}

/** One without a record that can be read is of no use to anybody, and has expired. */
async function keptIn(
  folder: string,
): Promise<{ place: string; about: KeptWorkspace | null; untilMs: number }[]> {
  const names = await readdir(folder).catch(() => []);
  return Promise.all(
    names.map(async (name) => {
      const place = path.join(folder, name);
      try {
        const about = KeptWorkspace.parse(JSON.parse(await readFile(path.join(place, RECORD), "utf8")));
        return { place, about, untilMs: Date.parse(about.until) };
      } catch {
        return { place, about: null, untilMs: 0 };
      }
    }),
  );
}
