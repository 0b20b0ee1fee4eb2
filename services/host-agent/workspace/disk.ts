// Whether the disk of a folder is full, which tells why work failed that would have gone well elsewhere.
import { statfs } from "node:fs/promises";
import { systemErrorCode } from "../../../shared/process/system-error.ts";

/** Bytes. */
export async function diskOf(folder: string): Promise<{ totalBytes: number; freeBytes: number }> {
  const { blocks, bavail, bsize } = await statfs(folder);
  return { totalBytes: blocks * bsize, freeBytes: bavail * bsize };
}

/** With less than this nothing gets far, bytes. */
const LEAST_BYTES = 1_048_576;

export async function isDiskFull(folder: string): Promise<boolean> {
  const { bavail, bsize, files, ffree } = await statfs(folder);
  // Some file systems count no files.
  return bavail * bsize < LEAST_BYTES || (files > 0 && ffree === 0);
}

export const isNoSpace = (error: unknown): boolean =>
  ["ENOSPC", "EDQUOT"].includes(systemErrorCode(error) ?? "");
