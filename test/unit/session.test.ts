// What of an agent's session is kept and gone on with: whole turns alone, and only after ends that say nothing against
// what it had done.
import { describe, expect, it } from "vitest";
import { SESSIONS } from "../../services/host-agent/runner/claude-code/session.ts";
import { continuable } from "../../services/status-tracker/continuation.ts";
import type { FailedAttempt } from "../../shared/contracts/api.ts";
import { CheckpointRecord } from "../../shared/contracts/checkpoint.ts";
import type { FailureCategory } from "../../shared/contracts/failure.ts";

const line = (value: unknown) => JSON.stringify(value);
const asked = line({ type: "user", message: { role: "user", content: "Mend the sum." } });
const other = line({ type: "api-request", shape: "any" });
const uses = (answer: string, ...ids: string[]) =>
  line({ type: "assistant", message: { id: answer, content: ids.map((id) => ({ type: "tool_use", id })) } });
const says = (answer: string) =>
  line({ type: "assistant", message: { id: answer, content: [{ type: "text", text: "So." }] } });
const result = (id: string, more: object = {}) =>
  line({ type: "user", message: { content: [{ type: "tool_result", tool_use_id: id }] }, ...more });
const textOf = (lines: string[]) => `${lines.join("\n")}\n`;

describe("a session of Claude Code", () => {
  it("is kept by the folder that the agent works in", () => {
    expect(SESSIONS.fileOf("0a-1", "/srv/mesh/work")).toBe(".claude/projects/-srv-mesh-work/0a-1.jsonl");
  });

  it("is whole after a turn of which everything is done, with what lies between", () => {
    const first = [asked, other, uses("m1", "t1"), result("t1")];
    expect(SESSIONS.read(textOf([...first, other]))).toEqual({
      whole: { text: textOf(first), turns: 1 },
      toolIds: new Set(["t1"]),
    });
  });

  it("counts an answer that fills several lines once", () => {
    const lines = [asked, says("m1"), uses("m1", "t1"), uses("m1", "t2"), result("t1"), result("t2")];
    expect(SESSIONS.read(textOf(lines)).whole).toEqual({ text: textOf(lines), turns: 1 });
  });

  it.each([
    ["a tool that still runs", [uses("m2", "t2")]],
    ["one of two tools that still runs", [uses("m2", "t2", "t3"), result("t2")]],
    ["words without a tool", [says("m2")]],
    ["a line that was being written", ['{"type":"user","message":{"cont']],
    ["what a subagent does", [result("t1", { isSidechain: true })]],
  ])("ends before %s", (_, after) => {
    const first = [asked, uses("m1", "t1"), result("t1")];
    expect(SESSIONS.read([...first, ...after].join("\n")).whole).toEqual({ text: textOf(first), turns: 1 });
  });

  it("is nothing before its first turn has ended, and tells what has been done of it", () => {
    const { whole, toolIds } = SESSIONS.read(textOf([asked, uses("m1", "t1", "t2"), result("t1")]));
    expect(whole).toBeNull();
    expect([...toolIds]).toEqual(["t1"]);
    expect(SESSIONS.read("").whole).toBeNull();
  });
});

describe("a checkpoint's record", () => {
  const record = {
    ...{ sha: "a".repeat(40), runner: "claude-code", turns: 1, workTree: "/srv/mesh/work" },
    ...{ sessionBytes: 1, patchBytes: 1, chunks: 1, sha256: "b".repeat(64) },
  };
  const reads = (sessionId: string) => CheckpointRecord.safeParse({ ...record, sessionId }).success;

  it("names no session that a program could take for a flag, or that leads out of its folder", () => {
    expect(reads("91f41f33-a82f-47b1-a8af-7cf43f82ec3e")).toBe(true);
    for (const sessionId of ["--dangerously-skip-permissions", "-c", "../other", "a/b", ".", "", "a b"])
      expect(reads(sessionId)).toBe(false);
  });
});

describe("what an attempt may go on from", () => {
  const failed = (...categories: FailureCategory[]): FailedAttempt[] =>
    categories.map((category, index) => ({
      ...{ attempt: index + 1, hostId: `h${index + 1}`, category, message: "" },
      ...{ startedAt: "2026-01-01T00:00:00Z", endedAt: "2026-01-01T00:00:01Z" },
    }));
  const numbers = (attempts: FailedAttempt[]) => attempts.map(({ attempt }) => attempt);

  it.each<FailureCategory>(["lost", "host", "preempted", "quota", "internal", "source"])(
    "is the attempt before that ended as %s",
    (category) => expect(numbers(continuable(failed(category), 2))).toEqual([1]),
  );

  it.each<FailureCategory>(["agent", "setup", "gate", "timeout", "resource", "budget"])(
    "is nothing after one that ended as %s",
    (category) => expect(continuable(failed("lost", category), 3)).toEqual([]),
  );

  it("is the latest first, then those that it had gone on from itself", () => {
    expect(numbers(continuable(failed("lost", "agent", "quota", "preempted"), 5))).toEqual([4, 3]);
  });

  it("is never the attempt itself, nor one after it", () => {
    expect(numbers(continuable(failed("lost", "lost", "lost"), 2))).toEqual([1]);
  });
});
