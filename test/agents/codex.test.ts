// Findings of Codex, the real program with a stub of its provider: asked for in their form, and read from its answer.
import { afterAll, afterEach, beforeAll, describe, expect, inject, it } from "vitest";
import { codexRunner } from "../../services/host-agent/runner/codex/driver.ts";
import { CLOSED_FINDINGS_SCHEMA } from "../../services/host-agent/runner/findings.ts";
import { lookOn } from "../../services/host-agent/runner/program.ts";
import type { DeployRequest } from "../../shared/contracts/deploy-request.ts";
import { type AttemptHost, startAttemptHost } from "../support/attempt.ts";
import { makeRepository, type Repository } from "../support/repository.ts";
import { type ResponsesApi, startResponsesApi } from "../support/responses-api.ts";
import { WITHOUT_BUBBLEWRAP } from "../support/supervisor.ts";

const program = inject("codexProgram");
const FOUND = { file: "sum.sh", line: 1, severity: "error", message: "It subtracts." } as const;

describe.skipIf(program === null)("an attempt by Codex that is asked for findings", () => {
  const stack = new AsyncDisposableStack();
  let api: ResponsesApi;
  let host: AttemptHost;
  let repository: Repository;
  beforeAll(async () => {
    api = stack.use(await startResponsesApi());
    repository = stack.use(makeRepository({ files: { "sum.sh": "echo $(($1 - $2))\n" } }));
    const environment = { OPENAI_API_KEY: "sk-test-0123456789", OPENAI_BASE_URL: api.url };
    const file = program ?? "";
    const runner = codexRunner({ file, look: lookOn(""), version: undefined }, environment, "namespaces");
    const found = await runner.probe();
    if (!found.ok) throw new Error(found.reason);
    host = stack.use(
      await startAttemptHost({ runners: [runner], tools: [file], through: WITHOUT_BUBBLEWRAP }),
    );
  });
  afterAll(() => stack.disposeAsync());
  afterEach(() => host.seeNothingLeft());

  const asked = (overrides: Partial<DeployRequest> = {}) =>
    host.run(repository, { type: "code_analysis", runner: "codex", run: undefined, ...overrides });

  it("has them in its result and as an artifact", async () => {
    api.play({ say: JSON.stringify({ findings: [FOUND] }) });
    const { taskId, failure, result } = await asked();
    expect(failure).toBeNull();
    expect(result?.agent?.findings).toEqual({ total: 1, first: [FOUND] });
    const kept = Buffer.concat(await host.artifact(taskId, "findings")).toString();
    expect(JSON.parse(kept)).toEqual([FOUND]);
    const told = JSON.parse(api.told()) as { text: { format: { type: string; schema: unknown } } };
    expect(told.text.format).toMatchObject({
      type: "json_schema",
      schema: JSON.parse(CLOSED_FINDINGS_SCHEMA),
    });
    expect(result?.artifacts.find(({ name }) => name === "patch")?.size).toBe(0);
  });

  it("fails where they are its answer and it tells none, and not where they are advice", async () => {
    api.play({ say: "All is well." });
    expect((await asked()).failure).toEqual({
      category: "agent",
      message: "the agent told no findings, which are its answer",
    });
    const { failure, result } = await asked({ type: "fix", checks: ["true"] });
    expect(failure).toBeNull();
    expect(result?.agent).toMatchObject({ summary: "All is well." });
    expect(result?.agent?.findings).toBeUndefined();
  });
});
