// Where an image is made: a root file system in which scripts run as root, and which is then packed.
import { Readable } from "node:stream";
import { execa } from "execa";
import type { WslOutcome } from "../wsl-error.ts";
import type { ImageStep } from "./recipe.ts";

export interface ImageRoot {
  /** What the step printed. */
  run(step: ImageStep): Promise<WslOutcome<string>>;
  /** A tarball of all of it, packed as the file's name says. */
  pack(file: string): Promise<WslOutcome<null>>;
  remove(): Promise<void>;
}

/** Fetching packages is the longest step, ms. */
export const STEP_MS = 1_800_000;

/** What a step reads. */
export function inputOf(stdin: ImageStep["stdin"]): Readable {
  if (stdin === undefined) return Readable.from([]);
  if (Buffer.isBuffer(stdin)) return Readable.from([stdin]);
  // Cut short, it is refused by the tar that reads it.
  const tar = execa("tar", ["-c", "-C", stdin.folder, "."], {
    stdin: "ignore",
    stderr: "ignore",
    buffer: false,
    reject: false,
  });
  return tar.stdout;
}

/** Of what a program said, as much as a person reads. */
export const lastOf = (text: string): string => text.trim().slice(-1_000);
