// The file of this host's secrets: read only where nobody but the host agent's own account can read it, and written whole
// or not at all.
import { constants } from "node:fs";
import { type FileHandle, open, rename, rm } from "node:fs/promises";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { lockFolder } from "../../../shared/process/folder-lock.ts";
import { systemErrorCode } from "../../../shared/process/system-error.ts";
import { parseStore, type ReadStore, type Store } from "./store.ts";

const MAX_BYTES = 1_048_576;
/** Whoever changes the file has read it a moment before, and is done a moment later. */
const LOCKED_MS = 10_000;
const LOOK_MS = 20;

/** In a host's data folder, where `MESH_HOST_SECRETS` names no other. */
export const storeFileIn = (dataDir: string): string => path.join(dataDir, "secrets.json");

/** `mayLack`: one that is not there holds nothing. */
export async function readStore(file: string, { mayLack }: { mayLack: boolean }): Promise<ReadStore> {
  let handle: FileHandle;
  try {
    // Of a pipe nobody waits for the other end.
    handle = await open(file, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
  } catch (error) {
    const code = systemErrorCode(error);
    if (code === "ENOENT" && mayLack) return { ok: true, store: {} };
    return { ok: false, problem: `${file} cannot be read (${code ?? String(error)})` };
  }
  try {
    // Of the file that is open, whatever its name stands for meanwhile.
    const { uid, mode, size, isFile } = await statOf(handle);
    const problem = isFile ? (accessProblem(uid, mode) ?? sizeProblem(size)) : "expected a file";
    if (problem !== null) return { ok: false, problem: `${file}: ${problem}` };
    const read = parseStore(await handle.readFile("utf8"));
    return read.ok ? read : { ok: false, problem: `${file}: ${read.problem}` };
  } finally {
    await handle.close();
  }
}

async function statOf(handle: FileHandle) {
  const found = await handle.stat();
  return { uid: found.uid, mode: found.mode, size: found.size, isFile: found.isFile() };
}

/** Windows tells neither; there the folder's access list decides (docs/secrets.md). */
function accessProblem(uid: number, mode: number): string | null {
  const own = process.getuid?.();
  if (own === undefined) return null;
  if (uid !== own)
    return `it is user ${uid}'s; expected to be of the host agent's own account, user ${own} (chown)`;
  if ((mode & 0o077) === 0) return null;
  return `others than its owner may use it (mode ${(mode & 0o777).toString(8)}); expected 600 (chmod 600)`;
}

const sizeProblem = (bytes: number): string | null =>
  bytes > MAX_BYTES ? `it has ${bytes} bytes; ${MAX_BYTES} are allowed` : null;

/** Keeps others off the file who would change what they have read of it: of two at once one would be lost. */
export async function lockStore(file: string): Promise<AsyncDisposable> {
  for (const endMs = performance.now() + LOCKED_MS; ; await delay(LOOK_MS)) {
    const locked = await lockFolder(path.dirname(file), `${path.basename(file)}.lock`);
    if (locked.ok) return { [Symbol.asyncDispose]: () => locked.lock.release() };
    if (performance.now() > endMs)
      throw new Error(`process ${locked.heldBy} has been changing it for ${LOCKED_MS / 1_000} s`);
  }
}

/** Whoever calls this has locked it. */
export async function writeStore(file: string, store: Store): Promise<void> {
  // One that was cut off in the middle has left values there: the next one clears them away.
  const draft = `${file}.draft`;
  await rm(draft, { force: true });
  const handle = await open(draft, "wx", 0o600);
  try {
    await handle.writeFile(`${JSON.stringify(store, null, 2)}\n`);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(draft, file);
}
