// What the mesh relies on in every coding agent, each tried as the real program with a stub of its provider.

import { readFileSync } from "node:fs";
import { afterAll, afterEach, beforeAll, describe, expect, inject, it, vi } from "vitest";
import { Stop } from "../../services/host-agent/held/executor.ts";
import { acpRunner } from "../../services/host-agent/runner/acp/driver.ts";
import { greetHere } from "../../services/host-agent/runner/acp/greet.ts";
import { agentapiRunner } from "../../services/host-agent/runner/agentapi/driver.ts";
import { claudeCodeRunner } from "../../services/host-agent/runner/claude-code/driver.ts";
import { codexRunner } from "../../services/host-agent/runner/codex/driver.ts";
import { lookOn } from "../../services/host-agent/runner/program.ts";
import type { Runner } from "../../services/host-agent/runner/runner.ts";
import type { DeployRequest } from "../../shared/contracts/deploy-request.ts";
import { AROUND_CLAUDE, CLAUDE_SETTINGS, preparedClaude } from "../support/agentapi-claude.ts";
import { type AttemptHost, startAttemptHost } from "../support/attempt.ts";
import { startMessagesApi } from "../support/messages-api.ts";
import { anthropic, type Line, openai, type Provider } from "../support/provider.ts";
import { makeRepository, type Repository } from "../support/repository.ts";
import { startResponsesApi } from "../support/responses-api.ts";
import { WITHOUT_BUBBLEWRAP } from "../support/supervisor.ts";

const KEY = "sk-ant-test-0123456789";
const DEADLINE = { timeout: 30_000, interval: 25 };

interface Agent {
  name: string;
  program: string | null;
  /** What lets it run commands that write; without it those ask for leave, if it can be spoken to. */
  may: NonNullable<DeployRequest["agent"]>;
  /** It takes messages and asks for leave while it works. */
  isSpokenTo: boolean;
  /** It tells what it does and uses, and what its provider refused; of another one only its screen is known. */
  isRead?: false;
  /** What the host's supervisor is started through. */
  through?: string[];
  /** What its sandbox has to show besides the program. */
  tools?: string[];
  start(stack: AsyncDisposableStack, program: string): Promise<{ runner: Runner; provider: Provider }>;
}

const claude = inject("claudeProgram");
const adapter = inject("acpAdapter");
const node = inject("nodeProgram");
const agentapi = inject("agentapiProgram");

const AGENTS: Agent[] = [
  {
    name: "claude-code",
    program: claude,
    may: { approvals: "allow" },
    isSpokenTo: true,
    async start(stack, file) {
      const api = stack.use(await startMessagesApi());
      const environment = { ANTHROPIC_API_KEY: KEY, ANTHROPIC_BASE_URL: api.url };
      return {
        provider: anthropic(api),
        runner: claudeCodeRunner({ file, look: lookOn(""), version: undefined }, environment),
      };
    },
  },
  {
    name: "codex",
    program: inject("codexProgram"),
    may: {},
    isSpokenTo: false,
    // Its own sandbox cannot begin inside that of attempts.
    through: WITHOUT_BUBBLEWRAP,
    async start(stack, file) {
      const api = stack.use(await startResponsesApi());
      const environment = { OPENAI_API_KEY: KEY, OPENAI_BASE_URL: api.url };
      return {
        provider: openai(api),
        runner: codexRunner({ file, look: lookOn(""), version: undefined }, environment, "namespaces"),
      };
    },
  },
  {
    name: "acp",
    program: claude === null ? null : adapter,
    may: { approvals: "allow" },
    isSpokenTo: true,
    tools: [node, folderOfPackages(adapter), claude ?? ""],
    async start(stack, script) {
      const api = stack.use(await startMessagesApi());
      const env = {
        ANTHROPIC_API_KEY: KEY,
        ANTHROPIC_BASE_URL: api.url,
        CLAUDE_CODE_EXECUTABLE: claude ?? "",
        ...CLAUDE_SETTINGS,
      };
      const agent = { name: "acp", argv: [node, script], env, mode: "default" };
      return {
        provider: anthropic(api),
        runner: acpRunner({ ...agent, version: undefined, auth: undefined, greet: greetHere }),
      };
    },
  },
  {
    name: "agentapi",
    program: claude === null ? null : agentapi,
    may: { approvals: "allow" },
    isSpokenTo: false,
    isRead: false,
    tools: [claude ?? ""],
    async start(stack, file) {
      const api = stack.use(await startMessagesApi());
      const runner = agentapiRunner({
        ...AROUND_CLAUDE,
        name: "agentapi",
        argv: [file, "server", "--type=claude", "--", ...preparedClaude(claude ?? "")],
        env: { ...CLAUDE_SETTINGS, ANTHROPIC_API_KEY: KEY, ANTHROPIC_BASE_URL: api.url },
      });
      return { provider: anthropic(api), runner };
    },
  },
];

const isProgram = (pid: number, name: string): boolean => {
  try {
    return readFileSync(`/proc/${pid}/comm`, "utf8").trim() === name;
  } catch {
    return false;
  }
};

/** What a script of a package may load. */
function folderOfPackages(script: string | null): string {
  const [folder = ""] = (script ?? "").split("/node_modules/");
  return folder;
}

describe.each(AGENTS)("$name", ({ name, program, may, isSpokenTo, isRead, through, tools = [], start }) => {
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
      const shown = [program ?? "", ...tools];
      host = stack.use(await startAttemptHost({ runners: [agent.runner], tools: shown, through }));
    });
    afterAll(() => stack.disposeAsync());
    afterEach(() => host.seeNothingLeft());

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
        agent: { runner: name, summary: expect.stringContaining("It is mended."), denied: 0 },
      });
      if (isRead !== false) expect(result?.agent?.usage?.outputTokens).toBeGreaterThan(0);
      // What it says besides is its own.
      const events = (await host.events(taskId)).filter(({ type }) => type !== "raw");
      const told = ["started", "toolStart", "toolEnd", "text", "usage"];
      expect(events.map(({ type }) => type)).toEqual(isRead === false ? ["started", "text"] : told);
      expect(await textOf(taskId, "transcript")).toContain("It is mended.");
      const { costUsd = null, turns = null, ...tokens } = result?.agent?.usage ?? {};
      const report = JSON.parse(await textOf(taskId, "usage")) as { cost: { usd: number } | null };
      expect(report).toMatchObject({ runner: name, turns, tokens: turns === null ? null : tokens });
      expect(report.cost?.usd ?? null).toBe(costUsd);
    });

    it("fails as gate where its checks refute what it claims", async () => {
      provider.play({ say: "Every test passes." });
      const { failure } = await host.run(repository, asked({}, ["sh mended.sh 2 3"]));
      expect(failure).toMatchObject({ category: "gate", message: expect.stringContaining("check") });
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

    const refusals: [number, string][] = [
      [401, "host"],
      [429, "quota"],
      [400, "agent"],
    ];
    it.runIf(isRead !== false).each(refusals)(
      "that its provider refuses with %i fails as what that means",
      async (status, category) => {
        provider.play({ refuse: status });
        expect((await host.run(repository, asked())).failure).toMatchObject({ category });
      },
    );

    it("is given up after the silence that it may keep", async () => {
      provider.play("hang");
      const { failure } = await host.run(repository, asked({ silenceMs: 3_000 }));
      expect(failure?.category).toBe("timeout");
    });

    it("ends with all that it started when it is cancelled while a tool runs", async () => {
      const cancelled = new Stop({ category: "cancelled", message: "the task was cancelled" });
      provider.play({ run: "setsid tail -f /dev/null & tail -f /dev/null" });
      const { ended, stop } = host.start(repository, asked());
      await vi.waitUntil(() => host.processes().some((pid) => isProgram(pid, "tail")), DEADLINE);
      stop(cancelled);
      const { failure, result } = await ended;
      expect(failure).toEqual(cancelled.failure);
      if (name === "claude-code") expect(result?.agent?.runner).toBe(name);
      if (name === "codex") expect(result?.agent?.usage).toBeNull();
      expect(host.processes()).toEqual([]);
    });

    describe.runIf(isSpokenTo)("that is spoken to", () => {
      /** Neither an edit nor harmless. */
      const ASKS = { run: `node -e "require('fs').writeFileSync('asked.txt', 'x')"` };
      const DONE = { say: "All is well." };
      const running = async (script: Line[], agent: DeployRequest["agent"] = {}) => {
        provider.play(...script);
        const attempt = host.start(repository, { ...asked(), agent });
        await vi.waitUntil(() => provider.keys().length > 0, DEADLINE);
        const run = attempt.run();
        if (run === null) throw new Error("nothing runs");
        return { ...attempt, speak: run };
      };

      it("is denied by default what asks for leave, visibly, and goes on without", async () => {
        const { taskId, ended } = await running([ASKS, DONE]);
        const { failure, result } = await ended;
        expect(failure).toBeNull();
        expect(result?.agent).toMatchObject({ denied: 1, summary: "All is well." });
        expect((await host.events(taskId)).find(({ type }) => type === "denied")).toMatchObject({
          tool: "Bash",
          reason: "this task allows no tool that asks for approval",
        });
        expect(await textOf(taskId, "patch")).toBe("");
      });

      it("is denied what nobody answers in time", async () => {
        const { taskId, ended } = await running([ASKS, DONE], { approvals: "ask", silenceMs: 12_000 });
        expect((await ended).failure).toBeNull();
        const types = (await host.events(taskId)).map(({ type }) => type);
        expect(types).toEqual(expect.arrayContaining(["approval", "denied"]));
      });

      it.each([true, false])("has its approval answered by a person: %s", async (allow) => {
        const { taskId, ended, speak } = await running([ASKS, DONE], { approvals: "ask" });
        const approval = async () => (await host.events(taskId)).find((event) => event.type === "approval");
        const { id } = await vi.waitUntil(approval, DEADLINE);
        expect(speak.answer("another", true)).toBe(false);
        expect(speak.answer(id, allow)).toBe(true);
        expect(speak.answer(id, allow)).toBe(false);
        expect((await ended).result?.agent?.denied).toBe(allow ? 0 : 1);
        expect((await textOf(taskId, "patch")) !== "").toBe(allow);
      });

      it("hears what it is told, and is judged by what it did then", async () => {
        const first = { say: "I think.", slowly: true } as const;
        const { taskId, ended, speak } = await running([first, { run: "echo x > told.txt" }, DONE], may);
        expect(speak.say("Write a file, too.")).toBe(true);
        expect((await ended).failure).toBeNull();
        expect(provider.told()).toContain("Write a file, too.");
        expect(await textOf(taskId, "patch")).toContain("told.txt");
        expect((await host.events(taskId)).map(({ type }) => type)).toContain("said");
        expect(speak.say("Anything else?")).toBe(false);
      });

      it("leaves what it is doing for something else, and ends if it is told nothing else", async () => {
        const { ended, speak } = await running([{ say: "I think.", slowly: true }, DONE]);
        expect(speak.interrupt()).toBe(true);
        expect(speak.say("Do this instead.")).toBe(true);
        expect((await ended).result?.agent?.summary).toBe("All is well.");

        const again = await running([{ say: "I think.", slowly: true }]);
        again.speak.interrupt();
        expect((await again.ended).failure).toEqual({
          category: "agent",
          message: "the agent was interrupted",
        });
      });
    });
  });
});
