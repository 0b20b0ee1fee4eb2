// The program that copies one file, with shared blocks where its disk can do that. It is a process of its own, because a
// copy of gigabytes that the system makes in one stroke can be broken off by its end alone.
import { constants } from "node:fs";
import { copyFile } from "node:fs/promises";
import { systemErrorCode } from "../../../shared/process/system-error.ts";

const [, , source = "", target = ""] = process.argv;
try {
  await copyFile(source, target, constants.COPYFILE_FICLONE);
} catch (error) {
  // The code first, for whoever reads it.
  process.stderr.write(`${systemErrorCode(error) ?? "UNKNOWN"} ${(error as Error).message}\n`);
  process.exitCode = 1;
}
