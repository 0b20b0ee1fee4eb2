// The real Claude Code in a distro, itself, through its adapter to ACP and through agentapi, as runners of a host with
// WSL2: all that is said goes through wsl.exe.
import { spawn } from "node:child_process";
import { writeFile } from "node:fs/promises";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, inject, it, vi } from "vitest";
import { GOLDEN_DISTRO, NODE_PROGRAM } from "../../services/host-agent/wsl/distro-layout.ts";
import { CLAUDE_SETTINGS, preparedClaude } from "../support/agentapi-claude.ts";
import { hasDistros } from "../support/fake-wsl.ts";
import { type MessagesApi, startMessagesApi } from "../support/messages-api.ts";
import { startWslMesh, type WslMesh } from "../support/wsl-host.ts";

const claude = inject("claudeProgram");
const adapter = inject("acpAdapter");
const agentapi = inject("agentapiProgram");
const KEY = "sk-ant-test-0123456789";
/** As in an image that was built with agents. */
const THERE = "/opt/agents";
const DISK_MIB = "2048";
const COPY_MS = 120_000;

describe.skipIf(!hasDistros || claude === null)("a host with WSL2", () => {
  let api: MessagesApi;
  let wsl: WslMesh;
  beforeAll(async () => {
    vi.stubEnv("FAKE_WSL_DISK_MIB", DISK_MIB);
    api = await startMessagesApi();
    wsl = await startWslMesh({ leaseMs: 12_000 });
    for (const file of [claude, adapter, agentapi]) if (file !== null) await putThere(rootOf(file));
    const config = path.join(wsl.windows.folder, "mesh.toml");
    await writeFile(config, runners());
    vi.stubEnv("ANTHROPIC_API_KEY", KEY);
    vi.stubEnv("ANTHROPIC_BASE_URL", api.url);
    await wsl.host({ MESH_CONFIG: config, MESH_CLAUDE_BIN: inDistro(claude) });
  }, 300_000);
  afterAll(async () => {
    await wsl[Symbol.asyncDispose]();
    await api[Symbol.asyncDispose]();
    vi.unstubAllEnvs();
  });

  /** What has to be there of an agent: its package with those beside it, or its one file. */
  const rootOf = (file: string): string => file.split("/node_modules/")[0] ?? file;
  const inDistro = (file: string | null): string => {
    const root = rootOf(file ?? "");
    return `${THERE}/${path.basename(root)}${(file ?? "").slice(root.length)}`;
  };

  async function putThere(file: string): Promise<void> {
    const packed = spawn("tar", ["-c", "-C", path.dirname(file), path.basename(file)], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const argv = ["/bin/sh", "-c", `mkdir -p ${THERE} && tar -x -C ${THERE}`];
    const put = await wsl.windows.wsl.run({
      distro: GOLDEN_DISTRO,
      user: "root",
      argv,
      stdin: packed.stdout,
      timeoutMs: COPY_MS,
    });
    if (!put.ok || put.value.exitCode !== 0) throw new Error(JSON.stringify(put));
  }

  const runners = () => {
    const words = (argv: string[]) => JSON.stringify(argv);
    const env = Object.entries({
      ...CLAUDE_SETTINGS,
      ANTHROPIC_BASE_URL: api.url,
      CLAUDE_CODE_EXECUTABLE: inDistro(claude),
    })
      .map(([name, value]) => `${name} = ${JSON.stringify(value)}`)
      .join(", ");
    const server = [inDistro(agentapi), "server", "--type=claude", "--", ...preparedClaude(inDistro(claude))];
    return `
      [runners.adapted]
      acp = ${words([NODE_PROGRAM, inDistro(adapter)])}
      secrets = ["ANTHROPIC_API_KEY"]
      env = { ${env} }
      mode = "default"
      [runners.absent]
      acp = ["/nowhere/agent"]
      [runners.screen]
      agentapi = ${words(server)}
      secrets = ["ANTHROPIC_API_KEY"]
      env = { ${env} }
      quietMs = 4_000`;
  };

  it.each([
    ["claude-code", claude],
    ["adapted", adapter],
    ["screen", agentapi],
  ])("has the runner %s in its distro, whose work is judged", async (runner, program) => {
    if (program === null) return;
    await vi.waitUntil(async () => (await wsl.mesh.heartbeat("h1"))?.runners.includes(runner), {
      timeout: 60_000,
      interval: 100,
    });
    expect((await wsl.mesh.heartbeat("h1"))?.runners).not.toContain("absent");
    api.play(
      [{ tool: "Write", input: { file_path: "$CWD/mended.txt", content: "mended\n" } }],
      [{ text: "All is well." }],
    );
    const task = await wsl.submit("", {
      run: undefined,
      runner,
      prompt: "Mend the sum.",
      checks: ["grep mended mended.txt"],
      agent: { approvals: "allow" },
    });
    await task.run("h1");
    const said = await task.said("succeeded");
    expect(said).toMatchObject({
      result: { checks: [{ verdict: "confirmed" }], agent: { runner } },
    });
    expect(api.requests.map(({ key }) => key)).toContain(KEY);
  });
});
