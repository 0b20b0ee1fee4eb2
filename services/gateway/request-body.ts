// Reads a request's body up to a limit, whatever its Content-Length claims, and no further. It never keeps
// more than the limit in memory.
import type { IncomingMessage } from "node:http";
import { type Answer, answer, refuse } from "../../shared/contracts/failure.ts";

/** Bytes of a request under /v1; the log itself takes half of it. */
export const BODY_MAX_BYTES = 1024 * 1024;

/** The whole body; `too_large` as soon as that is known. What follows is for the server to throw away. */
export async function readBody(incoming: IncomingMessage, maxBytes: number): Promise<Answer<Buffer>> {
  const tooLarge = () => refuse("too_large", `the body is larger than ${maxBytes} bytes`);
  if (Number(incoming.headers["content-length"] ?? 0) > maxBytes) return tooLarge();
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    // The stream stays whole after a break: its socket still carries the answer.
    for await (const chunk of incoming.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > maxBytes) return tooLarge();
      chunks.push(chunk);
    }
  } catch {
    return refuse("bad_request", "the body broke off");
  }
  return answer(Buffer.concat(chunks));
}

/** The JSON value in the body of a request under /v1; undefined for no body at all. */
export async function readJson(incoming: IncomingMessage): Promise<Answer<unknown>> {
  const { "content-type": type, "content-encoding": encoding } = incoming.headers;
  const typeProblem = refuse("unsupported", "expected a body of Content-Type: application/json");
  // A page's form can post text/plain without asking first; it cannot post this.
  if (type !== undefined && !isJson(type)) return typeProblem;
  if (encoding !== undefined && encoding !== "identity")
    return refuse("unsupported", `expected a body without Content-Encoding, not "${encoding}"`);
  const body = await readBody(incoming, BODY_MAX_BYTES);
  if (!body.ok) return body;
  if (body.value.length === 0) return answer(undefined);
  if (type === undefined) return typeProblem;
  try {
    return answer(JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(body.value)));
  } catch (error) {
    const why = error instanceof SyntaxError ? error.message : "it is not UTF-8";
    return refuse("bad_request", `the body is no JSON text: ${why}`);
  }
}

export const isJson = (contentType: string): boolean =>
  contentType.split(";")[0]?.trim().toLowerCase() === "application/json";
