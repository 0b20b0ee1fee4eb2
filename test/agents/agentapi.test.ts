// agentapi, the real program, around the real Claude Code in its terminal, as a runner of real attempts: what a screen
// tells, and what it cannot.
import { readFileSync, readlinkSync } from "node:fs";
import { afterAll, afterEach, beforeAll, describe, expect, inject, it, vi } from "vitest";
import { agentapiRunner } from "../../services/host-agent/runner/agentapi/driver.ts";
import type { Runner } from "../../services/host-agent/runner/runner.ts";
import type { DeployRequest } from "../../shared/contracts/deploy-request.ts";
import { AROUND_CLAUDE, CLAUDE_SETTINGS, preparedClaude } from "../support/agentapi-claude.ts";
import { type AttemptHost, startAttemptHost } from "../support/attempt.ts";
import { type MessagesApi, startMessagesApi, type Turn } from "../support/messages-api.ts";
import { makeRepository, type Repository } from "../support/repository.ts";
import { hasBubblewrap } from "../support/supervisor.ts";

const agentapi = inject("agentapiProgram");
const claude = inject("claudeProgram");
const KEY = "sk-ant-test-0123456789";
const DEADLINE = { timeout: 60_000, interval: 50 };

const DONE: Turn = [{ text: "All is well, every test passes." }];
const ASKS: Turn = [
  { tool: "Bash", input: { command: `node -e "require('fs').writeFileSync('asked.txt', 'x')"` } },
];

/** The network in which a process of agentapi listens. */
function networkOfServer(pid: number): string[] {
  try {
    const isServer = readFileSync(`/proc/${pid}/comm`, "utf8").startsWith("agentapi");
    return isServer ? [readlinkSync(`/proc/${pid}/ns/net`)] : [];
  } catch {
    // It has just ended.
    return [];
  }
}

describe.skipIf(agentapi === null || claude === null)("an attempt by agentapi", () => {
  let api: MessagesApi;
  let host: AttemptHost;
  let repository: Repository;
  let runners: Runner[];

  beforeAll(async () => {
    api = await startMessagesApi();
    const env = { ...CLAUDE_SETTINGS, ANTHROPIC_API_KEY: KEY, ANTHROPIC_BASE_URL: api.url };
    const server = [agentapi ?? "", "server", "--type=claude", "--"];
    const runner = (name: string, agent: string[]) =>
      agentapiRunner({ ...AROUND_CLAUDE, env, name, argv: [...server, ...agent] });
    const prepared = runner("prepared", preparedClaude(claude ?? ""));
    const found = await prepared.probe();
    if (!found.ok) throw new Error(found.reason);
    runners = [prepared, runner("unprepared", [claude ?? ""])];
    host = await startAttemptHost({
      runners,
      tools: [agentapi ?? "", claude ?? ""],
    });
    repository = makeRepository();
  });
  afterAll(async () => {
    await host[Symbol.asyncDispose]();
    await api[Symbol.asyncDispose]();
    repository[Symbol.dispose]();
  });
  afterEach(() => host.seeNothingLeft());

  const asked = (agent: DeployRequest["agent"] = {}, checks: string[] = []): Partial<DeployRequest> => ({
    runner: "prepared",
    prompt: "Mend the sum.",
    agent,
    checks,
  });
  const patchOf = async (taskId: string) => Buffer.concat(await host.artifact(taskId, "patch")).toString();

  it.runIf(hasBubblewrap)("has its server in the attempt's own network, where that has one", async () => {
    await using apart = await startAttemptHost({
      runners,
      tools: [agentapi ?? "", claude ?? ""],
      network: { widest: "none", allowed: [] },
    });
    const networks: (string | undefined)[] = [];
    for (const where of [host, apart]) {
      api.play(DONE);
      const { taskId, ended } = where.start(repository, asked());
      await vi.waitUntil(async () => (await where.events(taskId)).length > 0, DEADLINE);
      networks.push(where.processes().flatMap(networkOfServer)[0]);
      await ended;
    }
    const [shared, own] = networks;
    expect(shared).toBe(readlinkSync("/proc/self/ns/net"));
    expect(own).toMatch(/^net:/);
    expect(own).not.toBe(shared);
  });

  it("is denied by default what asks for leave, visibly", async () => {
    api.play(ASKS, DONE);
    const { taskId, failure, result } = await host.run(repository, asked());
    expect({ failure, denied: result?.agent?.denied }).toEqual({ failure: null, denied: 1 });
    expect((await host.events(taskId)).map(({ type }) => type)).toContain("denied");
    expect(await patchOf(taskId)).toBe("");
  });

  it("has its approval answered by a person, and hears what it is told then", async () => {
    api.play(ASKS, DONE, [{ tool: "Write", input: { file_path: "$CWD/told.txt", content: "x\n" } }], DONE);
    const { taskId, ended, run } = host.start(repository, asked({ approvals: "ask" }));
    const { id } = await vi.waitUntil(
      async () => (await host.events(taskId)).find((event) => event.type === "approval"),
      DEADLINE,
    );
    expect(run()?.say("Write a file, too.")).toBe(true);
    expect(run()?.answer(id, true)).toBe(true);
    const { failure, result } = await ended;
    expect({ failure, denied: result?.agent?.denied }).toEqual({ failure: null, denied: 0 });
    const patch = await patchOf(taskId);
    expect([patch.includes("asked.txt"), patch.includes("told.txt")]).toEqual([true, true]);
  });

  it("cannot tell that its provider refused: its checks decide", async () => {
    api.play({ status: 401, error: "authentication_error", message: "stub says 401" });
    const { failure, result } = await host.run(repository, asked({}, ["test -e mended.sh"]));
    expect(failure?.category).toBe("gate");
    expect(result?.agent?.summary).toContain("401");
  });

  it("whose agent is not ready for a prompt did not begin", async () => {
    const { failure } = await host.run(repository, { ...asked(), runner: "unprepared" });
    expect(failure?.category).toBe("setup");
  });
});
