// How a verb says that it did not work, for `main.ts` to turn into words and an exit code. Nothing here is about bugs:
// those throw as they are.
import type { WireError } from "../../shared/contracts/failure.ts";

/** The caller asked for something that cannot be: exit 2. */
export class UsageError extends Error {}

/** It was asked rightly and did not work: exit 1. An empty message: it has been said already. */
export class Failure extends Error {}

/** What the mesh answered instead of a value. */
export const refused = ({ code, message }: WireError): Error =>
  code === "bad_request" ? new UsageError(message) : new Failure(message);

/** The words of whatever was thrown. */
export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** The value of an answer; throws what `refused` makes of an error. */
export function valueOf<Value>(answer: { ok: true; value: Value } | { ok: false; error: WireError }): Value {
  if (answer.ok) return answer.value;
  throw refused(answer.error);
}
