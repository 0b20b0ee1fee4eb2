// The log of the services of a mesh in one process: a file in its data folder, and standard error if wanted. It must
// never write on standard output.
import { mkdir, readFile, rename, stat } from "node:fs/promises";
import path from "node:path";
import { type Logger, pino } from "pino";
import { readEnvironment } from "../../shared/config/environment.ts";

/** A log larger than this is put aside at the start; one such is kept. */
const KEEP_BYTES = 10_000_000;

export const meshLogFile = (dataDir: string): string => path.join(dataDir, "mesh.log");

export async function openMeshLog(
  dataDir: string,
  env: NodeJS.ProcessEnv,
  verbose: boolean,
): Promise<Logger> {
  const file = meshLogFile(dataDir);
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  const size = await stat(file).then(
    (found) => found.size,
    () => 0,
  );
  if (size > KEEP_BYTES) await rename(file, `${file}.1`);
  const level = readEnvironment(env).MESH_LOG_LEVEL;
  const streams = [{ level, stream: pino.destination({ dest: file, sync: true, mode: 0o600 }) }];
  if (verbose) streams.push({ level, stream: pino.destination({ dest: 2, sync: true }) });
  return pino({ level, base: { pid: process.pid } }, pino.multistream(streams));
}

/** The last lines, with words for what went wrong. */
export async function meshLogTail(dataDir: string, lines = 25): Promise<string> {
  const text = await readFile(meshLogFile(dataDir), "utf8").catch(() => "");
  return text.trimEnd().split("\n").slice(-lines).join("\n");
}
