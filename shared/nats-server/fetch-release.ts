// Fetches nats-server from its official release, checked against the release's own SHA256SUMS. It must never wait
// long for a host that cannot be reached: many machines of a fleet have no way there.

import { systemErrorCode } from "../process/system-error.ts";
import { type FetchTask, type FetchWay, unpackProgram, verifySha256, within } from "./fetch-way.ts";

const version = "2.15.2";
const releases = "https://github.com/nats-io/nats-server/releases/download";

// The sums are a small text, so this bounds how long an unreachable host is waited for.
const sumsTimeoutMs = 5_000;
const archiveTimeoutMs = 300_000;

const systems: Partial<Record<NodeJS.Platform, string>> = {
  linux: "linux",
  darwin: "darwin",
  win32: "windows",
};
const processors: Partial<Record<NodeJS.Architecture, string>> = { x64: "amd64", arm64: "arm64" };

/** `baseUrl` is where `v<version>/<file>` is found: the project's releases, or a mirror of them. */
export function releaseWay(baseUrl: string = releases): FetchWay {
  return {
    origin: "release",
    title: `the official release v${version} (${baseUrl})`,
    version,
    fetch: (task) => fetchRelease(baseUrl, task),
  };
}

async function fetchRelease(baseUrl: string, { folder, onProgress, signal }: FetchTask): Promise<string> {
  const name = archiveName(process.platform, process.arch);
  onProgress(`Asking for nats-server's release v${version}`);
  const sums = await get(`${baseUrl}/v${version}/SHA256SUMS`, within(sumsTimeoutMs, signal));
  const expected = sumOf(name, sums.toString("utf8"));
  onProgress(`Downloading ${name}`);
  const archive = await get(`${baseUrl}/v${version}/${name}`, within(archiveTimeoutMs, signal));
  verifySha256(archive, expected, name);
  return unpackProgram(archive, folder);
}

export function archiveName(platform: NodeJS.Platform, arch: NodeJS.Architecture): string {
  const system = systems[platform];
  const processor = processors[arch];
  if (system === undefined || processor === undefined)
    throw new Error(`no archive for ${platform} on ${arch}`);
  return `nats-server-v${version}-${system}-${processor}.zip`;
}

function sumOf(name: string, sums: string): string {
  for (const line of sums.split("\n")) {
    const [sum, file] = line.trim().split(/\s+\*?/);
    if (file === name && sum !== undefined && /^[0-9a-f]{64}$/.test(sum)) return sum;
  }
  throw new Error(`the release's SHA256SUMS does not name ${name}`);
}

async function get(url: string, signal: AbortSignal): Promise<Buffer> {
  try {
    const response = await fetch(url, { signal });
    if (!response.ok) throw new Error(`HTTP ${response.status}`);
    return Buffer.from(await response.arrayBuffer());
  } catch (error) {
    throw new Error(`${url}: ${reasonOf(error)}`, { cause: error });
  }
}

/** `fetch` hides what happened ("fetch failed") in its cause. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error.name === "TimeoutError") return "no answer in time";
  return systemErrorCode(error.cause) ?? (error.cause instanceof Error ? error.cause.message : error.message);
}
