// Every refusal over HTTP: the one table from error codes to HTTP status, as RFC 9457 problem details.
// It never decides what is refused.
import type { Context } from "hono";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import type { ErrorCode } from "../../shared/contracts/failure.ts";

/** The wire's codes, and what only HTTP knows. */
type ProblemCode = ErrorCode | "unauthorized" | "method_not_allowed";

const PROBLEMS: Record<ProblemCode, { status: ContentfulStatusCode; title: string }> = {
  bad_request: { status: 400, title: "Bad Request" },
  unauthorized: { status: 401, title: "Unauthorized" },
  forbidden: { status: 403, title: "Forbidden" },
  not_found: { status: 404, title: "Not Found" },
  method_not_allowed: { status: 405, title: "Method Not Allowed" },
  conflict: { status: 409, title: "Conflict" },
  too_large: { status: 413, title: "Content Too Large" },
  too_many: { status: 429, title: "Too Many Requests" },
  unsupported: { status: 415, title: "Unsupported Media Type" },
  internal: { status: 500, title: "Internal Server Error" },
  unavailable: { status: 503, title: "Service Unavailable" },
};

const RETRY_AFTER_S = "2";

interface Refused {
  /** For a program. */
  code: ProblemCode;
  /** For a person. */
  message: string;
}

export function problemResponse(error: Refused, headers: Record<string, string> = {}): Response {
  const { body, status, headers: all } = problem(error, headers);
  return new Response(body, { status, headers: all });
}

/** The same inside a Hono handler, with the headers that were set before. */
export function refuseWith(context: Context, error: Refused, headers: Record<string, string> = {}): Response {
  const { body, status, headers: all } = problem(error, headers);
  return context.body(body, status, all);
}

function problem({ code, message }: Refused, headers: Record<string, string>) {
  const { status, title } = PROBLEMS[code];
  return {
    status,
    body: JSON.stringify({ type: "about:blank", title, status, detail: message, code }),
    headers: {
      "content-type": "application/problem+json",
      ...(code === "unavailable" || code === "too_many" ? { "retry-after": RETRY_AFTER_S } : {}),
      ...headers,
    },
  };
}
