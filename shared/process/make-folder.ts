// Makes a folder that a person has named, and those above it. It must come to an end wherever that is: Node's own way
// with `recursive` tries for ever where the system says of a new name that it is not there, as below /proc.
import { mkdirSync, statSync } from "node:fs";
import path from "node:path";
import { systemErrorCode } from "./system-error.ts";

/** Throws the system's error where it cannot be made. A folder that is there keeps its mode. */
export function makeFolder(folder: string, mode = 0o777): void {
  try {
    mkdirSync(folder, { mode });
  } catch (error) {
    // Some systems say of a drive, or of what may only be read, that it may not be made.
    if (isFolder(folder)) return;
    const parent = path.dirname(folder);
    if (systemErrorCode(error) !== "ENOENT" || isFolder(parent) || parent === folder) throw error;
    makeFolder(parent, mode);
    makeFolder(folder, mode);
  }
}

const isFolder = (folder: string): boolean =>
  statSync(folder, { throwIfNoEntry: false })?.isDirectory() === true;
