// The settings of a service, as another account than the service's own reads them: beside this process's environment.
import { readFileSync } from "node:fs";
import { parseEnv } from "node:util";
import { systemErrorCode } from "../../../shared/process/system-error.ts";
import { messageOf, UsageError } from "../outcome.ts";

/** The environment with the file's settings, if one is given. */
export function withSettings(file: string | undefined): NodeJS.ProcessEnv {
  if (file === undefined) return process.env;
  try {
    return { ...process.env, ...parseEnv(readFileSync(file, "utf8")) };
  } catch (error) {
    if (systemErrorCode(error) === undefined) throw error;
    throw new UsageError(`--environment: ${messageOf(error)}`);
  }
}
