// The pause that a machine's owner has said, as a file in the host's data folder: it needs no bus and no living host agent
// to be said, and outlives both. The host agent looks at it every second.
import { readFile, rename, rm, writeFile } from "node:fs/promises";
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

const fileIn = (dataDir: string): string => path.join(dataDir, "pause.json");

/** Null where none was said. One that nobody can read counts as one without an end: somebody meant something by it. */
export async function readPause(dataDir: string): Promise<Pause | null> {
  let text: string;
  try {
    text = await readFile(fileIn(dataDir), "utf8");
  } catch (error) {
    if (systemErrorCode(error) === "ENOENT") return null;
    return { untilMs: null, handBack: false };
  }
  try {
    return Pause.parse(JSON.parse(text));
  } catch {
    return { untilMs: null, handBack: false };
  }
}

export async function writePause(dataDir: string, pause: Pause): Promise<void> {
  const draft = `${fileIn(dataDir)}.${process.pid}`;
  await writeFile(draft, `${JSON.stringify(pause)}\n`, { mode: 0o600, flush: true });
  await rename(draft, fileIn(dataDir));
}

export const removePause = (dataDir: string): Promise<void> => rm(fileIn(dataDir), { force: true });
