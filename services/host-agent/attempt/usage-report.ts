// What an attempt's agent has used and cost, as the artifact `usage` tells it: by the agent's own account, with whose
// account that is, its tokens by its host's where that has seen more, and for each model where the agent tells them apart.
// Pure.
import type { AgentUsage } from "../../../shared/contracts/agent-event.ts";
import type { AgentResult } from "../../../shared/contracts/attempt-result.ts";

export interface ModelUsed extends Omit<AgentUsage, "turns"> {
  model: string;
  /** Which prices the cost was reckoned by, in the agent's words, such as `list`; null where it does not say. */
  prices: string | null;
}

/** `models`: undefined where the agent does not tell them apart. `durationMs`: of its run. */
export function usageReport(agent: AgentResult, models: ModelUsed[] | undefined, durationMs: number) {
  const { runner, version, model, sessionId, usage } = agent;
  const { turns = null, costUsd = null, ...tokens } = usage ?? {};
  return {
    runner,
    version,
    model: model || null,
    sessionId,
    durationMs,
    turns,
    /** Null where it has told nothing of what it used. */
    tokens: usage === null ? null : tokens,
    /** Null where it tells no cost, which is not for nothing. */
    cost: costUsd === null ? null : { usd: costUsd, by: `${runner} ${version}`.trim() },
    models: models ?? null,
  };
}
