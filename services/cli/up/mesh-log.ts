// The log of the services of a mesh in one process: a file in its data folder, and standard error if wanted. It must
// never write on standard output.
import { readFile } from "node:fs/promises";
import path from "node:path";
import { type Logger, pino } from "pino";
import { readEnvironment } from "../../../shared/config/environment.ts";
import { openLogFile } from "../../../shared/service/log-file.ts";

export const meshLogFile = (dataDir: string): string => path.join(dataDir, "mesh.log");

export function openMeshLog(dataDir: string, env: NodeJS.ProcessEnv, verbose: boolean): Logger {
  const level = readEnvironment(env).MESH_LOG_LEVEL;
  const file = { level, stream: openLogFile(meshLogFile(dataDir)) };
  const streams = verbose ? [file, { level, stream: pino.destination({ dest: 2, sync: true }) }] : [file];
  return pino({ level, base: { pid: process.pid } }, pino.multistream(streams));
}

/** The last lines, with words for what went wrong. */
export async function meshLogTail(dataDir: string, lines = 25): Promise<string> {
  const text = await readFile(meshLogFile(dataDir), "utf8").catch(() => "");
  return text.trimEnd().split("\n").slice(-lines).join("\n");
}
