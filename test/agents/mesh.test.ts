// A prompt through the whole mesh, as a user gives it: placed where the agent is, looked at, spoken to, and shown with
// what it did and cost.
import { writeFile } from "node:fs/promises";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, inject, it, vi } from "vitest";
import { TaskLog } from "../../shared/client/task-log.ts";
import type { TaskView } from "../../shared/contracts/task.ts";
import { startProgram, startUp, type UpMesh } from "../support/mesh-program.ts";
import { type MessagesApi, startMessagesApi } from "../support/messages-api.ts";
import { makeRepository, type Repository } from "../support/repository.ts";

const program = inject("claudeProgram");
const adapter = inject("acpAdapter");
const node = inject("nodeProgram");
const KEY = "sk-ant-test-0123456789";
const DEADLINE = { timeout: 60_000, interval: 100 };

describe.skipIf(program === null)("a prompt for Claude Code", () => {
  let api: MessagesApi;
  let repository: Repository;
  let up: UpMesh;
  beforeAll(async () => {
    api = await startMessagesApi();
    repository = makeRepository();
    const agent = { MESH_CLAUDE_BIN: program ?? "", ANTHROPIC_API_KEY: KEY, ANTHROPIC_BASE_URL: api.url };
    const config = path.join(repository.path, "..", "mesh.toml");
    await writeFile(config, runnersOf(api.url));
    const tools = `${node}:${(adapter ?? "").split("/node_modules/")[0]}`;
    const host = { MESH_HOST_SANDBOX: "1", MESH_HOST_TOOLS: tools, MESH_CONFIG: config };
    up = await startUp(["--hosts", "1"], { env: { ...agent, ...host } });
  });
  afterAll(async () => {
    await up[Symbol.asyncDispose]();
    await api[Symbol.asyncDispose]();
    repository[Symbol.dispose]();
  });

  /** One that works, one without its key, and one that is not there. */
  const runnersOf = (url: string) => `
    [runners.helper]
    acp = ["${node}", "${adapter}"]
    secrets = ["ANTHROPIC_API_KEY"]
    env = { ANTHROPIC_BASE_URL = "${url}", CLAUDE_CODE_EXECUTABLE = "${program}" }
    mode = "default"
    [runners.keyless]
    acp = ["${node}", "${adapter}"]
    secrets = ["MESH_TEST_NO_SUCH_KEY"]
    [runners.absent]
    acp = ["/nowhere/agent"]`;

  const deploy = ["deploy", "--json", "--pr-branch", "feature", "--prompt", "Mend the sum."];
  const about = () => ["--repo", repository.url, "--sha", repository.headSha];
  const viewOf = (stdout: string) => JSON.parse(stdout) as TaskView;
  const logsOf = async (taskId: string): Promise<TaskLog[]> => {
    const { stdout } = await up.mesh(["logs", taskId, "--json"]);
    return stdout.split("\n").flatMap((line) => (line === "" ? [] : [TaskLog.parse(JSON.parse(line))]));
  };

  it("is run by it, asks a person, and ends with its patch and what it used", async () => {
    const command = `node -e "require('fs').writeFileSync('mended.txt', 'x')"`;
    api.play([{ tool: "Bash", input: { command } }], [{ text: "It is mended." }]);
    const more = ["--approvals", "ask", "--check", "test -e mended.txt"];
    const { stdout } = await up.mesh([...deploy, ...about(), ...more]);
    const { taskId } = viewOf(stdout);

    const asked = await vi.waitUntil(
      async () => (await logsOf(taskId)).find(({ event }) => event?.type === "approval")?.event,
      DEADLINE,
    );
    const nonsense = await up.mesh(["say", taskId, "--allow", "another"]);
    expect(nonsense).toMatchObject({ code: 1, stderr: "mesh: nobody waits for the approval another\n" });
    if (asked.type !== "approval") throw new Error("nothing asks");
    const attached = startProgram(["attach", taskId], {
      env: { MESH_DATA_DIR: up.dataDir },
      input: null,
    });
    const printed = Promise.withResolvers<void>();
    attached.stdout?.on("data", (text: Buffer) => {
      if (text.includes(asked.id)) printed.resolve();
    });
    await printed.promise;
    attached.stdin?.write("/frob\n/approve\n");

    const left = await attached.ended;
    expect(left).toMatchObject({ code: 0, stderr: expect.stringContaining("mesh: there is no /frob;") });
    expect(left.stdout).toMatch(/> Bash node -e.*\nsucceeded {2}/s);
    const ended = viewOf((await up.mesh(["task", taskId, "--json"])).stdout);
    expect(ended).toMatchObject({
      state: "succeeded",
      result: { agent: { usage: { turns: 2 }, denied: 0 } },
    });
    const shown = await up.mesh(["task", taskId]);
    expect(shown.stdout).toMatch(/agent +claude-code 2\.1\.330, \S+ · 2 turns · \$0\.0\d/);
    expect(shown.stdout).toContain("It is mended.");
    const transcript = await fetch(`${up.ready.httpUrl}/v1/tasks/${taskId}/artifacts/transcript`);
    expect(await transcript.text()).toContain("It is mended.");
    const afterwards = await up.mesh(["say", taskId, "Anything else?"]);
    expect(afterwards).toMatchObject({ code: 1, stderr: expect.stringContaining("only what runs") });
  });

  it("fails as gate where it claims what its checks refute", async () => {
    api.play([{ text: "All is well, every test passes." }]);
    const { code, stdout } = await up.mesh([
      ...deploy,
      ...about(),
      "--check",
      "test -e mended.txt",
      "--wait",
    ]);
    expect(code).toBe(1);
    expect(viewOf(stdout)).toMatchObject({ state: "failed", failure: { category: "gate" } });
  });

  it.skipIf(adapter === null)("is run by an agent that the host's configuration names", async () => {
    api.play([{ tool: "Write", input: { file_path: "$CWD/mended.txt", content: "x\n" } }], [{ text: KEY }]);
    const helper = ["--runner", "helper", "--check", "test -e mended.txt", "--wait"];
    const { code, stdout } = await up.mesh([...deploy, ...about(), ...helper]);
    expect(viewOf(stdout)).toMatchObject({
      state: "succeeded",
      result: { agent: { runner: "helper", version: "0.101.0", summary: "[redacted]" } },
    });
    expect(code).toBe(0);
    expect(api.requests.every(({ key }) => key === KEY)).toBe(true);
    const { stdout: hosts } = await up.mesh(["hosts", "--json"]);
    expect(hosts).toContain('"helper":"0.101.0"');
    expect(hosts).not.toMatch(/"(keyless|absent)"/);
  });

  it("waits where no host has what runs it, and is told why", async () => {
    await using bare = await startUp(["--hosts", "1"], { env: { ANTHROPIC_API_KEY: "" } });
    const { stdout } = await bare.mesh([...deploy, ...about()]);
    const { taskId } = viewOf(stdout);
    const why = await vi.waitUntil(async () => {
      const explained = await bare.mesh(["explain", taskId]);
      return explained.stdout.includes("no host has been asked") ? null : explained.stdout;
    }, DEADLINE);
    expect(why).toContain("1 lacks the runner");
  });
});
