// `mesh.json`: where the mesh that runs on a data folder can be reached. It holds the bus's token, so nobody but its
// owner may read it; and it is no lock.
import { readFile, rename, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { z } from "zod";
import { systemErrorCode } from "../process/system-error.ts";

export const MeshFile = z.object({ natsUrl: z.string(), httpUrl: z.string(), pid: z.int().positive() });
export type MeshFile = z.infer<typeof MeshFile>;

const fileIn = (dataDir: string): string => path.join(dataDir, "mesh.json");

export async function writeMeshFile(dataDir: string, content: MeshFile): Promise<void> {
  const draft = `${fileIn(dataDir)}.${process.pid}`;
  await writeFile(draft, `${JSON.stringify(content)}\n`, { mode: 0o600 });
  await rename(draft, fileIn(dataDir));
}

export const removeMeshFile = (dataDir: string): Promise<void> => rm(fileIn(dataDir), { force: true });

/** Null when there is none that can be read, or when the process that wrote it has ended. */
export async function readMeshFile(dataDir: string): Promise<MeshFile | null> {
  try {
    const content = MeshFile.parse(JSON.parse(await readFile(fileIn(dataDir), "utf8")));
    return isAlive(content.pid) ? content : null;
  } catch {
    return null;
  }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return systemErrorCode(error) === "EPERM";
  }
}
