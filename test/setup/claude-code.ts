// Finds the real `claude` in the cache, or fetches it there by npm, before the tests that run it. It is proprietary and
// large: no part of this repository, and without it those tests are skipped, aloud.
import { access, mkdir, mkdtemp, readdir, rename, rm } from "node:fs/promises";
import path from "node:path";
import { execa } from "execa";
import type { TestProject } from "vitest/node";
import { LOWEST_VERSION as VERSION } from "../../services/host-agent/runner/claude-code/program.ts";
import { defaultCacheDir } from "../../shared/nats-server/cache.ts";

declare module "vitest" {
  export interface ProvidedContext {
    /** Null where it cannot be had. */
    claudeProgram: string | null;
  }
}

const FETCH_MS = 300_000;

export default async function provideClaudeCode(project: TestProject): Promise<void> {
  const folder = path.join(defaultCacheDir(), `claude-code-${VERSION}`);
  const program = path.join(folder, "claude");
  try {
    await access(program).catch(() => fetchInto(folder));
    const { stdout } = await execa(program, ["--version"], { stdin: "ignore" });
    if (!stdout.startsWith(VERSION)) throw new Error(`${program} says it is ${stdout}`);
    project.provide("claudeProgram", program);
  } catch (error) {
    const why = error instanceof Error ? error.message.split("\n")[0] : String(error);
    console.error(
      `\n!!! The tests with the real Claude Code ${VERSION} are SKIPPED: it cannot be had: ${why}\n`,
    );
    project.provide("claudeProgram", null);
  }
}

/** The program alone, out of the package that its npm package installs on this platform. */
async function fetchInto(folder: string): Promise<void> {
  const name = `@anthropic-ai/claude-code-${process.platform}-${process.arch}@${VERSION}`;
  console.error(`Fetching ${name} by npm: 175 MB, once`);
  await mkdir(path.dirname(folder), { recursive: true });
  const fetching = await mkdtemp(`${folder}-fetching-`);
  try {
    const options = { cwd: fetching, timeout: FETCH_MS, stdin: "ignore" } as const;
    await execa("npm", ["pack", "--silent", name], options);
    const [archive = ""] = (await readdir(fetching)).filter((file) => file.endsWith(".tgz"));
    await execa("tar", ["-xzf", archive], options);
    // Another run may have been first.
    await rename(path.join(fetching, "package"), folder).catch(() => access(path.join(folder, "claude")));
  } finally {
    await rm(fetching, { recursive: true, force: true });
  }
}
