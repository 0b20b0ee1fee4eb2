// The programs that an image gets besides its packages: Node, npm and coding agents, of versions that are known to
// work, by npm, which holds what it fetches against the registry's sums.
import { mkdir, readdir } from "node:fs/promises";
import path from "node:path";
import { execa } from "execa";
import { CLAUDE } from "../../runner/claude-code/driver.ts";
import { CODEX } from "../../runner/codex/driver.ts";
import { failed, type WslOutcome } from "../wsl-error.ts";
import type { ImagePart } from "./recipe.ts";

const NPM_VERSION = "11.21.2";
const FETCH_MS = 900_000;
const PLATFORM = `linux-${process.arch}`;
const VENDOR = `${process.arch === "arm64" ? "aarch64" : "x86_64"}-unknown-linux-musl`;

type Source = Omit<ImagePart, "folder"> & { package: string };

const ALWAYS: Source[] = [
  {
    name: "node",
    version: process.versions.node,
    package: `node-${PLATFORM}@${process.versions.node}`,
    programs: { node: "bin/node" },
  },
  {
    name: "npm",
    version: NPM_VERSION,
    package: `npm@${NPM_VERSION}`,
    programs: { npm: "bin/npm-cli.js", npx: "bin/npx-cli.js" },
  },
];

const AGENTS: Source[] = [
  {
    name: "claude-code",
    version: CLAUDE.lowest,
    package: `@anthropic-ai/claude-code-${PLATFORM}@${CLAUDE.lowest}`,
    programs: { claude: "claude" },
  },
  {
    name: "codex",
    version: CODEX.lowest,
    package: `@openai/codex@${CODEX.lowest}-${PLATFORM}`,
    programs: { codex: `vendor/${VENDOR}/bin/codex` },
  },
];

export const AGENT_NAMES = AGENTS.map(({ name }) => name);

/** Fetches Node, npm and the named agents into the folder. */
export async function fetchParts(
  folder: string,
  agents: string[],
  { signal, onProgress }: { signal: AbortSignal; onProgress: (text: string) => void },
): Promise<WslOutcome<ImagePart[]>> {
  const parts: ImagePart[] = [];
  for (const source of [...ALWAYS, ...AGENTS.filter(({ name }) => agents.includes(name))]) {
    onProgress(`fetching ${source.package} by npm`);
    const fetched = await fetchPackage(source.package, path.join(folder, source.name), signal);
    if (!fetched.ok) return fetched;
    const { package: _, ...part } = source;
    parts.push({ ...part, folder: fetched.value });
  }
  return { ok: true, value: parts };
}

async function fetchPackage(name: string, folder: string, signal: AbortSignal): Promise<WslOutcome<string>> {
  await mkdir(folder, { recursive: true });
  const options = {
    cwd: folder,
    stdin: "ignore",
    reject: false,
    timeout: FETCH_MS,
    cancelSignal: signal,
  } as const;
  const packed = await execa("npm", ["pack", name, "--ignore-scripts", "--silent"], options);
  const [archive] = (await readdir(folder)).filter((file) => file.endsWith(".tgz"));
  if (packed.failed || archive === undefined)
    return failed("file-missing", `npm cannot fetch ${name}: ${packed.stderr || packed.shortMessage}`);
  const unpacked = await execa("tar", ["-xzf", archive], options);
  if (unpacked.failed) return failed("corrupt", `${name} cannot be unpacked: ${unpacked.stderr}`);
  return { ok: true, value: path.join(folder, "package") };
}
