// What Codex's output means and what became of a run, by recordings of the real program (0.169.0) against a stub of its
// provider.
import { readFileSync } from "node:fs";
import path from "node:path";
import { describe, expect, it } from "vitest";
import { invocation } from "../../services/host-agent/runner/codex/driver.ts";
import { readLine } from "../../services/host-agent/runner/codex/events.ts";
import { type Evidence, verdict } from "../../services/host-agent/runner/codex/outcome.ts";
import { AgentEvent } from "../../shared/contracts/agent-event.ts";
import { request } from "../support/facts.ts";

const ABOUT = { model: "m", version: "0.169.0" };
const read = (name: string) =>
  readFileSync(path.resolve(import.meta.dirname, `../fixtures/codex/${name}.ndjson`), "utf8")
    .trim()
    .split("\n")
    .map((line) => readLine(line, ABOUT));

const EXITED = { exitCode: 1, signal: null, durationMs: 1, cause: "exited" } as const;
const judge = (overrides: Partial<Evidence>) =>
  verdict({ exit: EXITED, started: true, completed: false, failure: null, complaint: "", ...overrides });

describe("Codex's events", () => {
  it("are these of a run that goes well", () => {
    const lines = read("success");
    const events = lines.flatMap((line) => line.events);
    for (const event of events) expect(AgentEvent.parse(event)).toEqual(event);
    expect(events).toMatchObject([
      { type: "started", model: "m", version: "0.169.0" },
      { type: "toolStart", tool: "command", id: "item_0", input: expect.stringContaining("ls") },
      { type: "toolEnd", id: "item_0", ok: true, output: "sum.js\ntest.js\n" },
      { type: "text", text: "Hello from stub" },
      { type: "usage", turns: 1, inputTokens: 20, outputTokens: 10 },
    ]);
    expect(lines.at(-1)?.usage?.inputTokens).toBe(20);
  });

  it("tell that the provider is asked again", () => {
    expect(read("refused-401").flatMap((line) => line.events)).toMatchObject([
      { type: "started" },
      { type: "retry", attempt: 1, maxAttempts: 1, status: 401 },
      { type: "raw" },
    ]);
  });

  it("pass on what nobody knows", () => {
    for (const text of [
      '{"type":"tomorrow"}',
      "no JSON",
      "[]",
      '{"type":"item.completed","item":{"id":"1","type":"x"}}',
    ])
      expect(readLine(text, ABOUT)).toEqual({ events: [{ type: "raw", text }] });
  });

  it("tell of a change to files as a tool that ended", () => {
    const item = {
      id: "i",
      type: "file_change",
      changes: [{ path: "a.txt", kind: "add" }],
      status: "completed",
    };
    expect(readLine(JSON.stringify({ type: "item.completed", item }), ABOUT).events).toEqual([
      { type: "toolEnd", id: "i", ok: true, output: '{"changes":[{"path":"a.txt","kind":"add"}]}' },
    ]);
  });
});

describe("the outcome of a run of Codex", () => {
  it.each([
    ["refused-401", "host"],
    ["refused-500", "quota"],
  ])("%s is judged by what its turn failed of: %s", (name, category) => {
    const failure = read(name).at(-1)?.failure ?? null;
    expect(judge({ failure })?.category).toBe(category);
  });

  it.each([
    ["exceeded retry limit, last status: 429 Too Many Requests", "quota"],
    ["Quota exceeded. Check your plan and billing details.", "quota"],
    ["unexpected status 403 Forbidden: no, url: http://x/v1/responses", "host"],
    ['{"error":{"message":"the status of 401 things","code":"x"}}', "agent"],
  ])("that failed of %j is %s", (failure, category) => {
    expect(judge({ failure })?.category).toBe(category);
  });

  it("is good only if its turn was completed and it exited 0", () => {
    expect(judge({ completed: true, exit: { ...EXITED, exitCode: 0 } })).toBeNull();
    expect(judge({ completed: true })?.category).toBe("agent");
    expect(judge({ exit: { ...EXITED, exitCode: 0 } })?.category).toBe("agent");
    expect(judge({ started: false, complaint: "no such flag" })).toEqual({
      category: "setup",
      message: "the agent did not begin: it exited 1: no such flag",
    });
    expect(judge({ completed: true, exit: { ...EXITED, cause: "silent" } })?.category).toBe("timeout");
  });
});

describe("how Codex is started", () => {
  it("has nothing of the user's or the repository's configuration, and the key out of its tools' reach", () => {
    const { argv, env } = invocation("/opt/codex", request({ prompt: "Fix it" }), {
      OPENAI_API_KEY: "k",
      OPENAI_BASE_URL: 'http://x/"v1"',
      NATS_TOKEN: "t",
    });
    expect(argv.join(" ")).toContain("--ignore-user-config --ignore-rules");
    expect(argv).toContain('shell_environment_policy.exclude=["OPENAI_API_KEY"]');
    expect(argv.join(" ")).toContain('base_url="http://x/\\"v1\\""');
    expect(argv.join(" ")).not.toMatch(/danger|bypass|Fix it/);
    expect(env).toEqual({ OPENAI_API_KEY: "k" });
    expect(argv[0]).toBe("/opt/codex");
    expect(argv.join(" ")).not.toContain("schema");
  });
});
