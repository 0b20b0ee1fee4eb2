// The pause that a machine's owner has said, as a file in the host's data folder, or in one that is there for owners who
// may not write to that: it needs no bus and no living host agent to be said, and outlives both. The host agent looks at it
// every second, and must take no harm from whatever somebody has put there.
import { randomUUID } from "node:crypto";
import { readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import path from "node:path";
import { z } from "zod";
import { systemErrorCode } from "../../../shared/process/system-error.ts";

/** The last moment that a date can name, ms since the epoch. */
const LAST_MS = 8.64e15;

const Pause = z.object({
  /** Ms since the epoch; null: until it is taken back. */
  untilMs: z.number().max(LAST_MS).nullable(),
  /** What runs is handed back at once, whatever the owner's settings say. */
  handBack: z.boolean(),
});
export type Pause = z.infer<typeof Pause>;

export const PAUSE_EVERY_MS = 1_000;
/** More than a pause takes. */
const FILE_MAX_BYTES = 4_096;
const WITHOUT_END: Pause = { untilMs: null, handBack: false };

const fileIn = (dataDir: string): string => path.join(dataDir, "pause.json");

/** Null where none was said. One that nobody can read counts as one without an end: somebody meant something by it. */
export async function readPause(dataDir: string): Promise<Pause | null> {
  const file = fileIn(dataDir);
  try {
    const found = await stat(file);
    if (!found.isFile() || found.size > FILE_MAX_BYTES) return WITHOUT_END;
    return Pause.parse(JSON.parse(await readFile(file, "utf8")));
  } catch (error) {
    return systemErrorCode(error) === "ENOENT" ? null : WITHOUT_END;
  }
}

/** What holds of those that were said in several folders: none takes another one back. */
export async function readPauses(folders: string[]): Promise<Pause | null> {
  const nowMs = Date.now();
  const said = (await Promise.all(folders.map(readPause))).filter(
    (pause) => pause !== null && (pause.untilMs === null || pause.untilMs > nowMs),
  );
  if (said.length === 0) return null;
  const ends = said.map((pause) => pause?.untilMs ?? Number.POSITIVE_INFINITY);
  const last = Math.max(...ends);
  return {
    untilMs: Number.isFinite(last) ? last : null,
    handBack: said.some((pause) => pause?.handBack),
  };
}

export async function writePause(dataDir: string, pause: Pause): Promise<void> {
  // The folder may be somebody else's than who says it, perhaps root: what lies there already is never written into.
  const draft = `${fileIn(dataDir)}.${randomUUID()}`;
  await writeFile(draft, `${JSON.stringify(pause)}\n`, { mode: 0o644, flush: true, flag: "wx" });
  await rename(draft, fileIn(dataDir));
}

export const removePause = (dataDir: string): Promise<void> => rm(fileIn(dataDir), { force: true });
