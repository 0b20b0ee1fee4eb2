// What the mesh relies on in every coding agent, each tried as the real program with a stub of its provider.
import { afterAll, afterEach, beforeAll, describe, expect, inject, it, vi } from "vitest";
import { Stop } from "../../services/host-agent/executor.ts";
import { claudeCodeRunner } from "../../services/host-agent/runner/claude-code/driver.ts";
import { codexRunner } from "../../services/host-agent/runner/codex/driver.ts";
import type { Runner } from "../../services/host-agent/runner/runner.ts";
import type { DeployRequest } from "../../shared/contracts/task.ts";
import { type AttemptHost, startAttemptHost } from "../support/attempt.ts";
import { startMessagesApi } from "../support/messages-api.ts";
import { anthropic, openai, type Provider } from "../support/provider.ts";
import { makeRepository, type Repository } from "../support/repository.ts";
import { startResponsesApi } from "../support/responses-api.ts";
import { WITHOUT_BUBBLEWRAP } from "../support/supervisor.ts";

const KEY = "sk-ant-test-0123456789";
const DEADLINE = { timeout: 30_000, interval: 25 };

interface Agent {
  name: "claude-code" | "codex";
  program: string | null;
  /** What lets it run commands that write. */
  may: DeployRequest["agent"];
  /** What the host's supervisor is started through. */
  through: string[];
  start(stack: AsyncDisposableStack, program: string): Promise<{ runner: Runner; provider: Provider }>;
}

const AGENTS: Agent[] = [
  {
    name: "claude-code",
    program: inject("claudeProgram"),
    may: { approvals: "allow" },
    through: [],
    async start(stack, file) {
      const api = stack.use(await startMessagesApi());
      const environment = { ANTHROPIC_API_KEY: KEY, ANTHROPIC_BASE_URL: api.url };
      return {
        provider: anthropic(api),
        runner: claudeCodeRunner({ file, searchPath: "", version: undefined }, environment),
      };
    },
  },
  {
    name: "codex",
    program: inject("codexProgram"),
    may: {},
    // Its own sandbox cannot begin inside that of attempts.
    through: WITHOUT_BUBBLEWRAP,
    async start(stack, file) {
      const api = stack.use(await startResponsesApi());
      const environment = { OPENAI_API_KEY: KEY, OPENAI_BASE_URL: api.url };
      return {
        provider: openai(api),
        runner: codexRunner({ file, searchPath: "", version: undefined }, environment, "namespaces"),
      };
    },
  },
];

describe.each(AGENTS)("$name", ({ name, program, may, through, start }) => {
  describe.skipIf(program === null)("as a runner", () => {
    const stack = new AsyncDisposableStack();
    let provider: Provider;
    let host: AttemptHost;
    let repository: Repository;
    beforeAll(async () => {
      repository = stack.use(makeRepository());
      const agent = await start(stack, program ?? "");
      provider = agent.provider;
      const found = await agent.runner.probe();
      if (!found.ok) throw new Error(found.reason);
      host = stack.use(await startAttemptHost({ runners: [agent.runner], tools: [program ?? ""], through }));
    });
    afterAll(() => stack.disposeAsync());
    afterEach(async () => {
      const left = [...host.processes(), ...(await host.folders())];
      if (left.length > 0) throw new Error(`attempts left ${left.join(" ")}`);
    });

    const asked = (agent: DeployRequest["agent"] = {}, checks: string[] = []): Partial<DeployRequest> => ({
      runner: name,
      prompt: "Mend the sum.",
      agent: { ...may, ...agent },
      checks,
    });
    const textOf = async (taskId: string, artifact: string) =>
      Buffer.concat(await host.artifact(taskId, artifact)).toString();

    it("has its work in the patch, is checked on that, and tells what it did and used", async () => {
      provider.play({ run: "echo 'echo $(($1 + $2))' > mended.sh" }, { say: "It is mended." });
      const { taskId, failure, result } = await host.run(
        repository,
        asked({}, ['test "$(sh mended.sh 2 3)" = 5']),
      );
      expect(failure).toBeNull();
      expect(result).toMatchObject({
        exitCode: 0,
        checks: [{ verdict: "confirmed" }],
        agent: { runner: name, summary: "It is mended.", denied: 0 },
      });
      expect(result?.agent?.usage.outputTokens).toBeGreaterThan(0);
      const events = (await host.chunks(taskId)).flatMap(({ event }) => event?.type ?? []);
      expect(events).toEqual(["started", "toolStart", "toolEnd", "text", "usage"]);
      expect(await textOf(taskId, "transcript")).toContain("It is mended.");
    });

    it("fails as gate where its checks refute what it claims", async () => {
      provider.play({ say: "Every test passes." });
      const { failure } = await host.run(repository, asked({}, ["sh mended.sh 2 3"]));
      expect(failure?.category).toBe("gate");
    });

    it("has its key, and shows it to nobody", async () => {
      provider.play({ run: `echo ${KEY}; printenv | grep KEY` }, { say: "Done." });
      const { taskId, result } = await host.run(repository, asked());
      expect(new Set(provider.keys())).toEqual(new Set([KEY]));
      const names = result?.artifacts.map((artifact) => artifact.name) ?? [];
      const left = await Promise.all(names.map((artifact) => textOf(taskId, artifact)));
      for (const text of [...left, JSON.stringify([result, await host.chunks(taskId)])])
        expect(text).not.toContain(KEY);
    });

    it.each([
      [401, "host"],
      [429, "quota"],
      [400, "agent"],
    ])("that its provider refuses with %i fails as what that means", async (status, category) => {
      provider.play({ refuse: status });
      expect((await host.run(repository, asked())).failure).toMatchObject({ category });
    });

    it("is given up after the silence that it may keep", async () => {
      provider.play("hang");
      const { failure } = await host.run(repository, asked({ silenceMs: 3_000 }));
      expect(failure?.category).toBe("timeout");
    });

    it("ends with all that it started when it is cancelled while a tool runs", async () => {
      const cancelled = new Stop({ category: "cancelled", message: "the task was cancelled" });
      provider.play({ run: "setsid tail -f /dev/null & tail -f /dev/null" });
      const { taskId, ended, stop } = host.start(repository, asked());
      await vi.waitUntil(
        async () => (await host.chunks(taskId)).some(({ event }) => event?.type === "toolStart"),
        DEADLINE,
      );
      stop(cancelled);
      await expect(ended).rejects.toBe(cancelled);
      expect(host.processes()).toEqual([]);
    });
  });
});
