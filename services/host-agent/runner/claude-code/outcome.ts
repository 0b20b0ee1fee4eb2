// What became of a run of Claude Code, from its last result and how its process ended. Its exit code alone tells
// nothing: a provider's refusal is a "success" that exits 1, and a denied tool one that exits 0. Pure.
import type { Failure, FailureCategory } from "../../../../shared/contracts/failure.ts";
import { endedWithoutResult, howItEnded, infrastructureFailure } from "../../attempt/judgement.ts";
import type { ExitRecord } from "../../supervisor/supervisor-link.ts";
import type { Result } from "./events.ts";

export interface Evidence {
  exit: ExitRecord;
  /** It had begun to work. */
  started: boolean;
  /** Its last; null if there was none. */
  result: Result | null;
  /** The kind of the provider's last failure, in Claude Code's words. */
  apiError: string | null;
  /** When the provider's limit ends, if it said so: a Unix time. */
  limitResetsAtMs: number | null;
  /** The end of its stderr. */
  complaint: string;
}

/** Null if it went well. */
export function verdict(evidence: Evidence, nowMs: number): Failure | null {
  const { exit, started, result, complaint } = evidence;
  const ended = infrastructureFailure(exit, "the agent");
  if (ended !== null) return ended;
  if (result === null) return endedWithoutResult(exit, started, complaint);
  const category = categoryOf(result, evidence.apiError);
  if (category !== null) {
    const resetsAtMs = category === "quota" ? evidence.limitResetsAtMs : null;
    const later = resetsAtMs !== null && resetsAtMs > nowMs ? { retryAfterMs: resetsAtMs - nowMs } : {};
    return { category, message: inWords(result), ...later };
  }
  if (exit.exitCode === 0) return null;
  return { category: "agent", message: `the agent ${howItEnded(exit)} after its result` };
}

/** Null for what it calls a success. */
function categoryOf(result: Result, apiError: string | null): FailureCategory | null {
  if (result.subtype === "error_max_turns" || result.subtype === "error_max_budget_usd") return "budget";
  if (!result.isError && result.subtype === "success") return null;
  if (result.terminalReason !== "api_error") return "agent";
  switch (result.apiStatus) {
    // No connection, or one that broke: another host's network may be better. And a key that is wrong, or none, is
    // this host's.
    case null:
    case 401:
    case 403:
      return "host";
    case 400:
      return apiError === "billing_error" ? "quota" : "agent";
    case 429:
      return "quota";
    default:
      // The provider's own trouble passes, and nobody here has failed.
      return result.apiStatus >= 500 ? "quota" : "agent";
  }
}

function inWords(result: Result): string {
  if (result.terminalReason?.startsWith("aborted")) return "the agent was interrupted";
  const words = result.text.trim().slice(0, 1_000) || result.subtype;
  return result.terminalReason === "api_error" ? `the provider refused: ${words}` : words;
}
