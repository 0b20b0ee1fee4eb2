// How a program of the mesh starts another of its programs, or reads a file that belongs to it: by its place in a
// checkout, and in the single-file program by the same name, which that one carries within. `file` is always a path from
// the project's root.
import { readFileSync } from "node:fs";
import { stripTypeScriptTypes } from "node:module";
import path from "node:path";
import { getRawAsset, isSea } from "node:sea";
import { pathToFileURL } from "node:url";

/** A checkout's; what was bundled lies nowhere. */
const placeOf = (file: string): string => path.resolve(import.meta.dirname, "../..", file);

/** Argv that starts it in a process of its own; arguments of its own come after. */
export const ownProgram = (file: string): [string, ...string[]] =>
  isSea() ? [process.execPath, file] : [process.execPath, placeOf(file)];

/** What a thread of its own is started from. */
export function ownThread(file: string): URL {
  const packaged = ownAsset(file);
  if (packaged === null) return pathToFileURL(placeOf(file));
  return new URL(`data:text/javascript;base64,${packaged.toString("base64")}`);
}

/** A text that belongs to it. */
export const ownText = (file: string): string =>
  ownAsset(file)?.toString() ?? readFileSync(placeOf(file), "utf8");

/** JavaScript of a module that imports nothing of ours: for a Node that runs it where this program is not. */
export const ownSource = (file: string): string =>
  isSea() ? ownText(file) : stripTypeScriptTypes(ownText(file));

/** Null in a checkout, where the sources are at hand. */
export const ownAsset = (name: string): Buffer | null => (isSea() ? Buffer.from(getRawAsset(name)) : null);
