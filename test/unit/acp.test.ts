// What agents that speak ACP say, and what became of their runs, by recordings of real ones (Claude Code's adapter 0.101.0,
// Codex's 0.16.0) against stubs of their providers, less the lists of commands and models.

import { readFileSync } from "node:fs";
import path from "node:path";
import { setImmediate } from "node:timers/promises";
import { describe, expect, it, vi } from "vitest";
import { acpRunner } from "../../services/host-agent/runner/acp/driver.ts";
import { greetHere } from "../../services/host-agent/runner/acp/greet.ts";
import { type Evidence, verdict } from "../../services/host-agent/runner/acp/outcome.ts";
import {
  needsNoLeave,
  outcomeOf,
  type PermissionRequest,
} from "../../services/host-agent/runner/acp/permission.ts";
import { Updates } from "../../services/host-agent/runner/acp/updates.ts";
import type { Transport } from "../../services/host-agent/runner/runner.ts";
import type { ExitRecord } from "../../services/host-agent/supervisor/supervisor-link.ts";
import { AgentEvent } from "../../shared/contracts/agent-event.ts";
import type { DeployRequest } from "../../shared/contracts/deploy-request.ts";
import { request } from "../support/facts.ts";

const DEADLINE = { timeout: 20_000, interval: 5 };

const linesOf = (name: string) =>
  readFileSync(path.resolve(import.meta.dirname, `../fixtures/acp/${name}.ndjson`), "utf8")
    .trim()
    .split("\n");

const EXITED: ExitRecord = { exitCode: 0, signal: null, durationMs: 1, cause: "exited" };

interface Written {
  id?: number;
  method?: string;
  params?: Record<string, unknown>;
  result?: { outcome: { optionId?: string } };
}

/** Plays an agent's lines to the runner, each answer once it has been asked for; then the agent ends. */
async function play(
  lines: string[],
  { agent = {}, mode }: { agent?: DeployRequest["agent"]; mode?: string } = {},
) {
  const written: Written[] = [];
  const exit = Promise.withResolvers<ExitRecord>();
  const told = Promise.withResolvers<(bytes: Buffer) => void>();
  const transport: Transport = {
    workTree: "/srv/mesh/work",
    start(_, listener) {
      if (listener) told.resolve(listener.stdout);
      return {
        finished: exit.promise,
        write: (bytes) => void written.push(JSON.parse(bytes.toString()) as Written),
        endStdin: () => exit.resolve(EXITED),
        signal: () => {},
      };
    },
  };
  const runner = acpRunner({
    name: "a",
    argv: ["a"],
    env: {},
    version: undefined,
    auth: undefined,
    mode,
    greet: greetHere,
  });
  const run = runner.start(
    { request: request({ prompt: "Mend it.", agent }), allowance: {} },
    transport,
    new AbortController().signal,
  );
  const hear = await told.promise;
  for (const line of lines) {
    const { id, method } = JSON.parse(line) as Written;
    if (id !== undefined && method === undefined)
      await vi.waitUntil(() => written.some((message) => message.method && message.id === id), DEADLINE);
    hear(Buffer.from(`${line}\n`));
    await setImmediate();
  }
  const ends = setTimeout(() => exit.resolve(EXITED), 1_000);
  const events: AgentEvent[] = [];
  for await (const event of run.events) events.push(AgentEvent.parse(event));
  clearTimeout(ends);
  return { events, written, ...(await run.outcome) };
}

describe("a recorded run by ACP", () => {
  it("edits unasked, asks for its command, and tells what it did and used", async () => {
    const { events, written, failure, agent } = await play(linesOf("claude-edit"), { mode: "default" });
    expect(failure).toBeNull();
    expect(events.filter(({ type }) => type !== "raw")).toMatchObject([
      { type: "started", version: "0.101.0", model: "default" },
      { type: "text", text: "I will." },
      { type: "toolStart", tool: "Write", input: expect.stringContaining("mended.sh") },
      { type: "toolEnd", ok: true, output: expect.stringContaining("File created") },
      { type: "toolStart", tool: "Bash", input: expect.stringContaining("asked.txt") },
      { type: "denied", tool: "Bash" },
      { type: "toolEnd", ok: true },
      { type: "text", text: "Done it." },
      { type: "usage", turns: 1, costUsd: 0.02, inputTokens: 3_000, outputTokens: 150 },
    ]);
    expect(agent).toMatchObject({ summary: "Done it.", denied: 1, usage: { outputTokens: 150 } });
    expect(written.map(({ method, result }) => method ?? result?.outcome.optionId)).toEqual([
      "initialize",
      "session/new",
      "session/set_mode",
      "session/prompt",
      "allow-once",
      "reject",
    ]);
    expect(written[0]?.params).toMatchObject({
      clientCapabilities: { fs: { readTextFile: false, writeTextFile: false }, terminal: false },
    });
    expect(written[1]?.params).toEqual({ cwd: "/srv/mesh/work", mcpServers: [] });
  });

  it.each([
    ["claude-429", "quota"],
    ["codex-429", "quota"],
    ["codex-401", "host"],
  ])("%s is judged by what its turn failed of: %s", async (name, category) => {
    const { failure } = await play(linesOf(name));
    expect(failure).toMatchObject({ category, message: expect.stringMatching(/^its turn failed: .{20}/) });
  });

  it("that ends in the middle failed, and one that never greets did not begin", async () => {
    const lines = linesOf("claude-edit");
    expect((await play(lines.slice(0, 8), { mode: "default" })).failure).toEqual({
      category: "agent",
      message: "the agent exited 0 without a result",
    });
    expect((await play([])).failure?.category).toBe("setup");
    const other = JSON.stringify({ jsonrpc: "2.0", id: 1, result: { protocolVersion: 2 } });
    expect((await play([other])).failure).toMatchObject({
      category: "setup",
      message: "it did not begin: its answer to initialize is none of ACP 1",
    });
  });

  it("offers no files and no terminals, whatever is asked for", async () => {
    const [hello = "", ...rest] = linesOf("claude-edit");
    const asks = { jsonrpc: "2.0", id: 7, method: "fs/read_text_file", params: { path: "/etc/passwd" } };
    const { written } = await play([hello, JSON.stringify(asks), ...rest], { mode: "default" });
    expect(written.find(({ id }) => id === 7)).toMatchObject({ error: { code: -32_601 } });
  });

  it("is asked for its model before its turn", async () => {
    const lines = linesOf("codex-429");
    const { written } = await play(lines, { agent: { model: "gpt-x" } });
    expect(written[2]).toMatchObject({
      method: "session/set_config_option",
      params: { configId: "model", value: "gpt-x" },
    });
    const refusal = { jsonrpc: "2.0", id: 3, error: { code: -32_602, message: "no such model" } };
    const refused = await play([...lines.slice(0, 2), JSON.stringify(refusal)], { agent: { model: "x" } });
    expect(refused.failure).toEqual({ category: "agent", message: "it has no model x: no such model" });
  });
});

describe("the outcome of a run by ACP", () => {
  const judge = (overrides: Partial<Evidence>) =>
    verdict({ exit: EXITED, started: true, stopReason: null, refused: null, complaint: "", ...overrides });

  it.each([
    ["end_turn", undefined],
    ["max_turn_requests", "budget"],
    ["max_tokens", "agent"],
    ["refusal", "agent"],
    ["cancelled", "agent"],
    ["of_tomorrow", "agent"],
  ])("that stopped by %s is %s", (stopReason, category) => {
    expect(judge({ stopReason })?.category).toBe(category);
  });

  it("is the machine's where that ended it, and asks not how it ended once its work was over", () => {
    expect(judge({ stopReason: "end_turn", exit: { ...EXITED, cause: "silent" } })?.category).toBe("timeout");
    expect(
      judge({ stopReason: "end_turn", exit: { ...EXITED, exitCode: null, signal: "SIGTERM" } }),
    ).toBeNull();
  });

  it("is this host's where it has to be authenticated", () => {
    const error = { code: -32_000, message: "Authentication required" };
    expect(judge({ started: false, refused: { what: "it opened no session", error } })?.category).toBe(
      "host",
    );
  });
});

describe("an agent's updates", () => {
  const hear = (...updates: unknown[]) => {
    const events: AgentEvent[] = [];
    const heard = new Updates((event) => events.push(AgentEvent.parse(event)));
    for (const update of updates) heard.hear(update, JSON.stringify(update));
    heard.flush();
    return events;
  };
  const said = (text: string) => ({ sessionUpdate: "agent_message_chunk", content: { type: "text", text } });

  it("pass on what nobody knows, and what is no update", () => {
    const plan = { sessionUpdate: "plan", entries: [] };
    expect(hear(plan, null)).toEqual([
      { type: "raw", text: JSON.stringify(plan) },
      { type: "raw", text: "null" },
    ]);
  });

  it("join the chunks of a text, and part what is too long", () => {
    expect(
      hear(said("a"), said("b"), { sessionUpdate: "usage_update", used: 1, size: 2 }, said("c")),
    ).toEqual([{ type: "text", text: "abc" }]);
    expect(hear(...Array.from({ length: 5 }, () => said("x".repeat(4_000))))).toHaveLength(2);
  });

  it("tell of a tool whose input never came once it has begun, and of its end once", () => {
    const call = { sessionUpdate: "tool_call", toolCallId: "t", title: "Look", kind: "search" };
    const end = { sessionUpdate: "tool_call_update", toolCallId: "t", status: "failed" };
    expect(hear(call, end, end)).toEqual([
      { type: "toolStart", id: "t", tool: "search", input: '{"description":"Look"}' },
      { type: "toolEnd", id: "t", ok: false, output: "" },
    ]);
  });
});

describe("an answer to an agent that asks for leave", () => {
  it("is needed for nothing that reads or edits, unless its work may change nothing", () => {
    const needs = (kind: string | null, readsOnly: boolean) =>
      !needsNoLeave({ toolCall: { kind } } as PermissionRequest, readsOnly);
    for (const readsOnly of [false, true]) {
      expect([needs("read", readsOnly), needs("edit", readsOnly)]).toEqual([false, readsOnly]);
      for (const kind of ["execute", "fetch", "other", "of_tomorrow", null])
        expect(needs(kind, readsOnly)).toBe(true);
    }
  });

  const asked = (...kinds: string[]) =>
    ({ options: kinds.map((kind) => ({ optionId: `the ${kind}`, kind })) }) as PermissionRequest;

  it("is for this time alone where it may be, and never the opposite of what is meant", () => {
    expect(outcomeOf(asked("allow_always", "allow_once"), "allow")).toMatchObject({
      outcome: { optionId: "the allow_once" },
    });
    expect(outcomeOf(asked("reject_always"), "deny")).toMatchObject({
      outcome: { optionId: "the reject_always" },
    });
    expect(outcomeOf(asked("allow_once"), "deny")).toEqual({ outcome: { outcome: "cancelled" } });
  });
});
