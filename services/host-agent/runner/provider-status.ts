// What a provider's refusal means for the task, by its HTTP status. Pure.
import type { FailureCategory } from "../../../shared/contracts/failure.ts";

export function categoryOfStatus(status: number): FailureCategory {
  // The key is this host's.
  if (status === 401 || status === 403) return "host";
  // The provider's own trouble passes, and nobody here has failed.
  if (status === 429 || status >= 500) return "quota";
  return "agent";
}

/** The HTTP status that an agent's message names, for agents that tell the provider's failures in words alone. */
export function statusIn(message: string): number | null {
  const status = /\bstatus:? (\d{3})\b/.exec(message)?.[1];
  return status === undefined ? null : Number(status);
}
