// What became of a run of an agent that speaks ACP, from how its last turn ended. How its process ends says nothing: it
// is told to, once its work is over. Pure.
import { z } from "zod";
import type { Failure, FailureCategory } from "../../../../shared/contracts/failure.ts";
import { endedWithoutResult, infrastructureFailure } from "../../attempt/judgement.ts";
import type { ExitRecord } from "../../supervisor/supervisor-link.ts";
import { categoryOfStatus, statusIn } from "../provider-status.ts";
import type { RpcError } from "./peer.ts";

export interface Evidence {
  exit: ExitRecord;
  /** It had a session. */
  started: boolean;
  /** Why its last turn stopped; null if none has ended. */
  stopReason: string | null;
  /** What it could not do, and its words for why. */
  refused: { what: string; error: RpcError } | null;
  /** The end of its stderr. */
  complaint: string;
}

/** Null if it went well. */
export function verdict({ exit, started, stopReason, refused, complaint }: Evidence): Failure | null {
  const ended = infrastructureFailure(exit, "the agent");
  if (ended !== null) return ended;
  if (refused !== null) {
    const words = `${refused.what}: ${inWords(refused.error)}`.slice(0, 1_000);
    return { category: categoryOf(refused.error, started), message: words };
  }
  if (stopReason !== null) return failureOfStop(stopReason);
  return endedWithoutResult(exit, started, complaint);
}

function failureOfStop(reason: string): Failure | null {
  switch (reason) {
    case "end_turn":
      return null;
    case "max_turn_requests":
      return { category: "budget", message: "the agent's turns are used up" };
    case "max_tokens":
      return { category: "agent", message: "the agent met its limit of tokens" };
    case "refusal":
      return { category: "agent", message: "the agent refused to go on" };
    case "cancelled":
      return { category: "agent", message: "the agent was interrupted" };
    default:
      return { category: "agent", message: `the agent stopped: ${reason.slice(0, 200)}` };
  }
}

const AUTHENTICATION_REQUIRED = -32_000;

/** Names by which agents tell what the provider's failure was, where they do not give its status. */
const KINDS: Record<string, FailureCategory> = {
  authentication_failed: "host",
  rate_limit: "quota",
  overloaded: "quota",
  server_error: "quota",
  billing_error: "quota",
};
const ErrorKind = z.object({ errorKind: z.string() });

function categoryOf(error: RpcError, started: boolean): FailureCategory {
  if (error.code === AUTHENTICATION_REQUIRED) return "host";
  const kind = ErrorKind.safeParse(error.data);
  const named = kind.success ? KINDS[kind.data.errorKind] : undefined;
  if (named !== undefined) return named;
  const status = statusAmong(error.data) ?? statusIn(inWords(error));
  if (status !== null) return categoryOfStatus(status);
  return started ? "agent" : "setup";
}

/** The HTTP status that its data names, however deep. */
function statusAmong(data: unknown): number | null {
  if (typeof data !== "object" || data === null) return null;
  for (const [key, value] of Object.entries(data)) {
    if (/status/i.test(key) && typeof value === "number" && value >= 100 && value < 600) return value;
    const deeper = statusAmong(value);
    if (deeper !== null) return deeper;
  }
  return null;
}

const Said = z.object({ message: z.string() });

/** Some say in their data what it was, and in their message only that it was something. */
function inWords({ message, data }: RpcError): string {
  const said = Said.safeParse(data);
  return said.success ? `${message}: ${said.data.message}` : message;
}
