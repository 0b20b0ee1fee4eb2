// The folder where fetched nats-servers are kept, one sub-folder per version. Several processes use it at once:
// a program appears in it whole, by a rename, and must never be written in place.
import { chmod, mkdtemp, rename, rm } from "node:fs/promises";
import { homedir } from "node:os";
import { dirname, join, posix, win32 } from "node:path";
import { makeFolder } from "../process/make-folder.ts";
import { systemErrorCode } from "../process/system-error.ts";
import { programName } from "./probe.ts";

/** `$XDG_CACHE_HOME/agent-mesh`, else the platform's own place for caches. */
export function defaultCacheDir(
  env: NodeJS.ProcessEnv = process.env,
  platform: NodeJS.Platform = process.platform,
  home: string = homedir(),
): string {
  if (platform === "win32") {
    const local = env["LOCALAPPDATA"] || win32.join(home, "AppData", "Local");
    return win32.join(local, "agent-mesh", "cache");
  }
  // The XDG specification has relative paths ignored.
  const xdg = env["XDG_CACHE_HOME"] ?? "";
  if (posix.isAbsolute(xdg)) return posix.join(xdg, "agent-mesh");
  const caches = platform === "darwin" ? posix.join(home, "Library", "Caches") : posix.join(home, ".cache");
  return posix.join(caches, "agent-mesh");
}

export function cachedProgram(cacheDir: string, version: string): string {
  return join(cacheDir, `nats-server-${version}`, programName);
}

/** A folder to fetch into. It lies inside the cache, so that what is in it can be renamed into its place. */
export async function fetchFolder(cacheDir: string): Promise<AsyncDisposable & { path: string }> {
  makeFolder(cacheDir, 0o700);
  const path = await mkdtemp(join(cacheDir, "fetching-"));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

/** Moves a fetched program to its place and returns that place. Who comes second replaces an equal program. */
export async function installProgram(cacheDir: string, version: string, fetched: string): Promise<string> {
  const place = cachedProgram(cacheDir, version);
  makeFolder(dirname(place), 0o700);
  await chmod(fetched, 0o755);
  try {
    await rename(fetched, place);
  } catch (error) {
    // Windows does not replace a program that runs; then somebody else has installed this version already.
    const code = systemErrorCode(error);
    if (process.platform !== "win32" || (code !== "EPERM" && code !== "EACCES" && code !== "EBUSY"))
      throw error;
  }
  return place;
}
