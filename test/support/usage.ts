// Results of attempts in which an agent worked, for tests: 100 tokens in unless told otherwise.
import type { AgentUsage } from "../../shared/contracts/agent-event.ts";
import type { AttemptResult } from "../../shared/contracts/attempt-result.ts";

/** Null: it told nothing of what it used. */
export const resultOf = (usage: Partial<AgentUsage> | null): AttemptResult => ({
  exitCode: 0,
  durationMs: 1,
  phases: {},
  checks: [],
  artifacts: [],
  agent: {
    runner: "claude-code",
    version: "1",
    model: "stub",
    sessionId: "s",
    denied: 0,
    summary: "",
    usage:
      usage === null
        ? null
        : {
            turns: 1,
            costUsd: 0,
            inputTokens: 100,
            outputTokens: 0,
            cacheReadTokens: 0,
            cacheWriteTokens: 0,
            ...usage,
          },
  },
});
