// What of a request or an answer is passed on by whoever stands between its two ends: nothing that is of one connection
// alone, and a body only with how it ends, or what follows it would be taken for another request. Pure.
import type { IncomingMessage, OutgoingHttpHeaders } from "node:http";

/** Of one connection alone, or meant for a proxy; `expect` has been answered when the request is heard of. */
const HOP_BY_HOP = new Set([
  "connection",
  "expect",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

type Received = Pick<IncomingMessage, "headers">;

export function answersHeaders({ headers }: Received): OutgoingHttpHeaders {
  const passed = Object.entries(headers).filter(([name]) => !HOP_BY_HOP.has(name));
  return Object.fromEntries(passed);
}

export const requestsHeaders = (request: Received): OutgoingHttpHeaders => ({
  ...answersHeaders(request),
  // Node sends the body of a GET as it is where neither this nor a length is said.
  ...(request.headers["transfer-encoding"] === undefined ? {} : { "transfer-encoding": "chunked" }),
});

/** A number that can be no answer's would be an error of whoever passes it on. */
export const isAnswer = ({ statusCode = 0 }: Pick<IncomingMessage, "statusCode">): boolean =>
  statusCode >= 200;
