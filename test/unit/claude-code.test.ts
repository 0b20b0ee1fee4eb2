// What Claude Code's output means and what became of a run, by recordings of the real program (2.1.330) against a stub
// of its provider.
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { usageReport } from "../../services/host-agent/attempt/usage-report.ts";
import { createRedactor, redactedCut } from "../../services/host-agent/redaction.ts";
import { nothingTold } from "../../services/host-agent/runner/agent-result.ts";
import { claudeCodeRunner } from "../../services/host-agent/runner/claude-code/driver.ts";
import { type Line, readLine } from "../../services/host-agent/runner/claude-code/events.ts";
import { invocation } from "../../services/host-agent/runner/claude-code/invocation.ts";
import { tokensOfAll } from "../../services/host-agent/runner/claude-code/model-usage.ts";
import { verdict } from "../../services/host-agent/runner/claude-code/outcome.ts";
import { eventText } from "../../services/host-agent/runner/event-text.ts";
import { Lines } from "../../services/host-agent/runner/lines.ts";
import { lookOn } from "../../services/host-agent/runner/program.ts";
import type { ExitRecord } from "../../services/host-agent/supervisor/supervisor-link.ts";
import { AgentEvent, EVENT_TEXT_MAX } from "../../shared/contracts/agent-event.ts";
import { request } from "../support/facts.ts";

const FOLDER = path.resolve(import.meta.dirname, "../fixtures/claude-code");
const bytesOf = (name: string) => readFileSync(path.join(FOLDER, `${name}.ndjson`));

function read(bytes: Buffer): Line[] {
  return new Lines().push(bytes).map((text) => readLine(text ?? ""));
}

const exited = (exitCode: number | null, signal: string | null = null): ExitRecord => ({
  exitCode,
  signal,
  durationMs: 1,
  cause: "exited",
});

function judge(lines: Line[], exit: ExitRecord, complaint = "") {
  const last = <Value>(values: (Value | undefined)[]) =>
    values.findLast((value) => value !== undefined) ?? null;
  const limits = lines.flatMap(({ events }) => events).filter((event) => event.type === "rateLimit");
  return verdict(
    {
      exit,
      started: lines.some(({ started }) => started !== undefined),
      result: last(lines.map(({ result }) => result)),
      apiError: last(lines.map(({ apiError }) => apiError)),
      limitResetsAtMs: limits.at(-1)?.resetsAtMs ?? null,
      complaint,
    },
    1_000_000,
  );
}

/** Events in short: their types, equal ones in a row once. */
const typesOf = (name: string): string[] =>
  read(bytesOf(name))
    .flatMap(({ events }) => events.map(({ type }) => type))
    .filter((type, index, all) => type !== all[index - 1]);

it("what its last result says of each model is the report's, with whose prices they are", () => {
  const { models = [], usage } = read(bytesOf("success")).at(-1)?.result ?? {};
  expect(models).toEqual([
    {
      model: "claude-opus-5-5",
      costUsd: 0.030000000000000002,
      prices: "list",
      inputTokens: 6_000,
      outputTokens: 300,
      cacheReadTokens: 0,
      cacheWriteTokens: 0,
    },
  ]);
  const twice = tokensOfAll([...models, ...models]);
  expect(twice).toEqual({ ...usage, inputTokens: 12_000, outputTokens: 600 });
  const agent = { ...nothingTold("claude-code"), version: "2.1.330" };
  expect(usageReport(agent, undefined, 5)).toMatchObject({
    tokens: null,
    cost: null,
    models: null,
    durationMs: 5,
  });
});

describe("the outcome of a run", () => {
  it.each([
    ["success", 0, null],
    ["success-partial", 0, null],
    ["background-task", 0, null],
    ["structured", 0, null],
    ["denied", 0, null],
    ["refused-401", 1, "host"],
    ["refused-403", 1, "host"],
    ["no-key", 1, "host"],
    ["unreachable", 1, "host"],
    ["refused-400", 1, "quota"],
    ["refused-429", 1, "quota"],
    ["refused-500", 1, "quota"],
    ["refused-529", 1, "quota"],
    ["max-turns", 1, "budget"],
    ["resume-missing", 1, "agent"],
    ["sigint", 0, "agent"],
    ["sigint-hung", 0, "agent"],
    ["sigterm", 143, "agent"],
  ])("%s that exits %i is judged by its last result: %s", (name, exitCode, category) => {
    const failure = judge(read(bytesOf(name)), exited(exitCode));
    expect(failure?.category ?? null).toBe(category);
    if (failure !== null) expect(failure.message.length).toBeGreaterThan(10);
  });

  it("of one that was killed is the agent's failure, and of one that never began the set-up's", () => {
    expect(judge(read(bytesOf("sigkill")), exited(null, "SIGKILL"))).toEqual({
      category: "agent",
      message: "the agent was ended by SIGKILL without a result",
    });
    expect(judge([], exited(1), "error: unknown option '--x'\n")).toEqual({
      category: "setup",
      message: "the agent did not begin: it exited 1: error: unknown option '--x'",
    });
  });

  it("is the machine's where that ended it, whatever the agent said", () => {
    const lines = read(bytesOf("success"));
    expect(judge(lines, { ...exited(143), cause: "timeout" })?.category).toBe("timeout");
    expect(judge(lines, { ...exited(0), cause: "silent" })?.category).toBe("timeout");
    expect(judge(lines, { ...exited(null, "SIGKILL"), cause: "out-of-memory" })?.category).toBe("resource");
  });

  it("is no success when the program fails after its result", () => {
    expect(judge(read(bytesOf("success")), exited(3))?.category).toBe("agent");
  });

  it("names when a provider's limit ends, if it said so", () => {
    const limit = {
      type: "rate_limit_event",
      rate_limit_info: { status: "rejected", resetsAt: 1_600, rateLimitType: "five_hour" },
      uuid: "u",
      session_id: "s",
    };
    const lines = [readLine(JSON.stringify(limit)), ...read(bytesOf("refused-429"))];
    expect(judge(lines, exited(1))).toMatchObject({ category: "quota", retryAfterMs: 600_000 });
  });
});

describe("a session that was to be gone on with", () => {
  /** What is heard of a run that prints what was recorded, and ends so. */
  async function outcomeOf(bytes: Buffer, exit: ExitRecord, resume: { sessionId: string } | null) {
    const runner = claudeCodeRunner({ file: undefined, look: lookOn(""), version: undefined }, {});
    const finished = Promise.withResolvers<ExitRecord>();
    const run = runner.start(
      { request: request(), allowance: {}, session: { resume, onDone: () => {} } },
      {
        workTree: "/srv/mesh/work",
        start(_, listener) {
          queueMicrotask(() => {
            listener?.stdout(bytes);
            finished.resolve(exit);
          });
          return {
            finished: finished.promise,
            write: () => {},
            endStdin: () => {},
            signal: () => {},
          };
        },
      },
      new AbortController().signal,
    );
    return await run.outcome;
  }
  const resume = { sessionId: "0a-1" };

  it.each([
    ["its agent does not know it", bytesOf("resume-missing")],
    [
      "its provider does not take what it holds",
      Buffer.from(bytesOf("refused-400").toString().replaceAll("billing_error", "invalid_request")),
    ],
  ])("is refused where %s", async (_, bytes) => {
    expect(await outcomeOf(bytes, exited(1), resume)).toMatchObject({ isSessionRefused: true });
    expect(await outcomeOf(bytes, exited(1), null)).not.toHaveProperty("isSessionRefused");
  });

  it.each([
    "refused-401",
    "refused-429",
    "refused-500",
    "refused-529",
    "unreachable",
    "max-turns",
    "refused-400",
  ])("is not refused by a run as in %s, which says nothing against it", async (name) => {
    const outcome = await outcomeOf(bytesOf(name), exited(1), resume);
    expect(outcome.failure).not.toBeNull();
    expect(outcome).not.toHaveProperty("isSessionRefused");
  });

  it.each<ExitRecord["cause"]>(["silent", "timeout", "frozen-too-long", "supervisor-died"])(
    "is not refused by one that was ended before the model answered: %s",
    async (cause) => {
      const outcome = await outcomeOf(bytesOf("sigint-hung"), { ...exited(null, "SIGKILL"), cause }, resume);
      expect(outcome.failure).not.toBeNull();
      expect(outcome).not.toHaveProperty("isSessionRefused");
    },
  );
});

describe("the events of a run", () => {
  it("are these of one that edits files", () => {
    expect(typesOf("success")).toEqual([
      "started",
      "text",
      ...Array.from({ length: 5 }, () => ["toolStart", "toolEnd"]).flat(),
      "text",
      "usage",
    ]);
    const events = read(bytesOf("success")).flatMap((line) => line.events);
    expect(events.filter(({ type }) => type === "toolStart").map((event) => eventText(event))).toEqual([
      "> Bash git status --short && ls\n",
      "> Read /srv/repo/sum.js\n",
      "> Edit /srv/repo/sum.js\n",
      "> Write /srv/repo/NOTES.md\n",
      "> Bash node test.js\n",
    ]);
    expect(events.at(-1)).toMatchObject({ type: "usage", turns: 6, inputTokens: 6_000, outputTokens: 300 });
  });

  it("tell a provider's refusals and a denied tool", () => {
    expect(typesOf("refused-529")).toEqual(["started", "retry", "text", "usage"]);
    expect(typesOf("denied")).toEqual(["started", "toolStart", "denied", "toolEnd", "text", "usage"]);
  });

  it("fit their schema in every recording, and pass on what nobody knows", () => {
    const names = readdirSync(FOLDER).map((name) => path.parse(name).name);
    expect(names.length).toBeGreaterThan(20);
    for (const name of names)
      for (const event of read(bytesOf(name)).flatMap((line) => line.events)) {
        expect(AgentEvent.parse(event)).toEqual(event);
        expect(eventText(event)).toMatch(/^([^]*\n)?$/);
      }
    expect(typesOf("hostile-hook")).toEqual(["raw", "started", "text", "usage"]);
    for (const text of ['{"type":"tomorrow","x":1}', "no JSON", "[]", "null", '{"type":"result"}'])
      expect(readLine(text)).toEqual({ events: [{ type: "raw", text }] });
  });

  it("tell what the session itself has done, and not what a subagent has", () => {
    const message = { content: [{ type: "tool_result", tool_use_id: "t1", content: "so" }] };
    const told = (more: object) => readLine(JSON.stringify({ type: "user", message, ...more }));
    for (const own of [{}, { parent_tool_use_id: null }]) expect(told(own).done).toEqual(["t1"]);
    const ofSubagent = told({ parent_tool_use_id: "t0" });
    expect(ofSubagent).not.toHaveProperty("done");
    expect(ofSubagent.events).toEqual(told({}).events);
  });

  it("cut what is too long", () => {
    const text = "x".repeat(100_000);
    const said = readLine(
      JSON.stringify({ type: "assistant", message: { content: [{ type: "text", text }] } }),
    );
    expect(said.events).toHaveLength(1);
    const [event] = said.events;
    const rough = event?.type === "text" ? event.text : expect.fail();
    expect(rough.length).toBeLessThan(2 * EVENT_TEXT_MAX);
    const told = { ...event, text: redactedCut(createRedactor(), rough, EVENT_TEXT_MAX) };
    expect(AgentEvent.safeParse(told).success).toBe(true);
  });

  it("are the same, wherever the stream is cut", () => {
    const whole = bytesOf("success");
    fc.assert(
      fc.property(fc.array(fc.nat({ max: whole.length }), { maxLength: 8 }), (cuts) => {
        const places = [...cuts, 0, whole.length].sort((one, other) => one - other);
        const lines = new Lines();
        const texts = places.slice(1).flatMap((to, index) => lines.push(whole.subarray(places[index], to)));
        expect(texts).toEqual(new Lines().push(whole));
      }),
      { numRuns: 30 },
    );
  });
});

describe("how it is started", () => {
  const start = (agent = {}, environment: NodeJS.ProcessEnv = {}) =>
    invocation(
      "/opt/claude",
      "5a0d",
      { request: request({ prompt: "Fix it", agent }), allowance: { usd: 0.25 } },
      environment,
    );

  it("loads nothing of the repository's own settings, and asks before what is not an edit", () => {
    const { argv } = start();
    expect(argv.join(" ")).toContain(
      "--setting-sources user --strict-mcp-config --permission-mode acceptEdits",
    );
    expect(argv.join(" ")).not.toMatch(/bypass|Fix it/);
  });

  it("passes on limits and allowed tools, none of which can be taken for a flag", () => {
    const { argv } = start({
      model: "--bare",
      maxTurns: 3,
      // Of that, an earlier attempt has used half.
      maxBudgetUsd: 0.5,
      allowedTools: ["Bash(npm test)", "--dangerously-skip-permissions"],
    });
    expect(argv.slice(argv.indexOf("5a0d") + 1)).toEqual([
      "--model=--bare",
      ...["--max-turns", "3", "--max-budget-usd", "0.25"],
      "--allowedTools=Bash(npm test)",
      "--allowedTools=--dangerously-skip-permissions",
    ]);
  });

  it("gives it none of the host's secrets, its provider's key neither", () => {
    const { env } = start({}, { ANTHROPIC_API_KEY: "k", NATS_TOKEN: "t", AWS_SECRET_ACCESS_KEY: "s" });
    expect(env).toMatchObject({ CLAUDE_CODE_MAX_RETRIES: "4" });
    expect(Object.keys(env).filter((name) => /NATS|AWS|ANTHROPIC/.test(name))).toEqual([]);
  });
});
