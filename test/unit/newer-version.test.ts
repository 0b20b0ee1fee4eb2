// What a newer version may say that this one has no word for: it is read all the same, as the nearest thing that there is.
import { expect, it } from "vitest";
import { decodeFact, type FactKind } from "../../shared/contracts/fact.ts";
import { LogChunk } from "../../shared/contracts/log.ts";
import { RunReply, StopOrder } from "../../shared/contracts/order.ts";
import { PushRecord, PushView } from "../../shared/contracts/push.ts";

const ATTEMPT = { after: 1, attempt: 1, nonce: "n" };
const AGENT = { runner: "a", version: "1", model: "m", sessionId: "s", usage: null, denied: 0, summary: "" };
const CHECK = { command: "true", exitCode: 0, durationMs: 1, log: "gate-licences" };
const RESULT = { exitCode: 0, durationMs: 1, phases: {}, artifacts: [] };

const decoded = (kind: FactKind, speaker: string, body: object) =>
  decodeFact(`mesh.task.t1.${kind}.${speaker}`, Buffer.from(JSON.stringify(body)), 2, 0);

it("a result counts, with gates, verdicts and severities that only a newer host knows", () => {
  const findings = { total: 1, first: [{ file: "a", line: null, severity: "fatal", message: "no" }] };
  const checks = [{ ...CHECK, gate: "licences", verdict: "waived" }];
  const result = { ...RESULT, checks, agent: { ...AGENT, findings } };
  expect(decoded("succeeded", "h1", { ...ATTEMPT, result })).toMatchObject({
    body: {
      result: {
        checks: [{ gate: "licences", verdict: "inconclusive" }],
        agent: { findings: { first: [{ severity: "info" }] } },
      },
    },
  });
});

it("an attempt has failed, and a task has, of a category that only a newer version knows", () => {
  const failure = { category: "cosmic-ray", message: "a bit was flipped" };
  const internal = { body: { failure: { category: "internal", message: "a bit was flipped" } } };
  expect(decoded("faulted", "h1", { ...ATTEMPT, failure })).toMatchObject(internal);
  const end = { ...ATTEMPT, hostId: "h1", lost: false, failures: 1, failure, exhausted: true };
  expect(decoded("failed", "control", end)).toMatchObject(internal);
});

it("what is no category, gate or verdict at all is refused, with what was expected", () => {
  const result = { ...RESULT, checks: [{ ...CHECK, gate: 7 }] };
  expect(decoded("succeeded", "h1", { ...ATTEMPT, result })).toMatchObject({ body: null });
});

it("an order to stop is obeyed, and a refusal understood, whatever their reason", () => {
  expect(StopOrder.parse({ taskId: "t1", attempt: 1, reason: "full-moon" }).reason).toBe("preempted");
  const refused = { outcome: "refused", reason: "full-moon", message: "it howls" };
  expect(RunReply.parse(refused)).toEqual({ ...refused, reason: "not-ready" });
});

it("a chunk of a log shows its text, whatever phase or event it is of", () => {
  const chunk = { at: "2026-01-01T00:00:00Z", source: "agent", text: "> dreams\n" };
  expect(LogChunk.parse({ ...chunk, phase: "dreaming", event: { type: "dream" } })).toEqual(chunk);
});

it("a push is told as parked, by a code that only a newer gateway knows", () => {
  const parked = { state: "parked", code: "embargo", message: "not before Monday" };
  const record = { ...parked, attempt: 1, hostId: "h1", branch: "feature" };
  expect(PushRecord.parse(record)).toEqual(record);
  expect(PushView.parse({ ...parked, at: "2026-01-01T00:00:00Z" })).toMatchObject(parked);
});
