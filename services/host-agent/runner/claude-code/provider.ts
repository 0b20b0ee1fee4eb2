// Claude Code's provider, as its Messages API is asked and answers (or a gateway that speaks it). Pure.
import { jsonOf } from "../lines.ts";
import type { Provider, Tokens, UsageReader } from "../provider.ts";

const OWN_ADDRESS = "https://api.anthropic.com";
/** An answer in one piece is kept up to here; a longer one tells nothing, characters. */
const ANSWER_MAX = 16_777_216;
/** The same of a line of one that comes in events; those that tell what was used are short. */
const LINE_MAX = 1_048_576;

const MESSAGES = "/v1/messages";
const ALLOWED: Record<string, RegExp> = {
  POST: /^\/v1\/messages(\/count_tokens)?$/,
  GET: /^\/v1\/models(\/[\w.:@-]+)?$/,
};

/** Null where the host has no key for it. */
export function anthropic(environment: NodeJS.ProcessEnv): Provider | null {
  const { ANTHROPIC_API_KEY: key, ANTHROPIC_AUTH_TOKEN: bearer, ANTHROPIC_BASE_URL } = environment;
  if (!key && !bearer) return null;
  return {
    baseUrl: ANTHROPIC_BASE_URL || OWN_ADDRESS,
    headers: {
      ...(key ? { "x-api-key": key } : {}),
      ...(bearer ? { authorization: `Bearer ${bearer}` } : {}),
    },
    allows: (method, path) => ALLOWED[method]?.test(path) === true,
    isCounted: (method, path) => method === "POST" && path === MESSAGES,
    readUsage: (contentType) => (contentType.includes("event-stream") ? eventReader() : documentReader()),
    refusal: (status, message) =>
      JSON.stringify({ type: "error", error: { type: REFUSALS[status] ?? "api_error", message } }),
    // It says the same things to either kind of key; whoever has given the host one of them goes by that.
    environment: (token) => ({
      [key ? "ANTHROPIC_API_KEY" : "ANTHROPIC_AUTH_TOKEN"]: token,
      // Never looked up: all it asks goes to the door.
      ANTHROPIC_BASE_URL: "http://provider.mesh.invalid",
    }),
    pathVariable: "ANTHROPIC_UNIX_SOCKET",
  };
}

const REFUSALS: Record<number, string> = {
  401: "authentication_error",
  403: "permission_error",
  404: "not_found_error",
  413: "request_too_large",
};

const none = (): Tokens => ({ inputTokens: 0, outputTokens: 0, cacheReadTokens: 0, cacheWriteTokens: 0 });

/** The largest of each: an answer tells its numbers as they grow. */
function take(known: Tokens, usage: unknown): void {
  if (typeof usage !== "object" || usage === null) return;
  const told = usage as Record<string, unknown>;
  for (const [kind, name] of Object.entries(NAMES)) {
    const value = told[name];
    if (typeof value === "number" && Number.isSafeInteger(value) && value > known[kind as keyof Tokens])
      known[kind as keyof Tokens] = value;
  }
}

const NAMES: Record<keyof Tokens, string> = {
  inputTokens: "input_tokens",
  outputTokens: "output_tokens",
  cacheReadTokens: "cache_read_input_tokens",
  cacheWriteTokens: "cache_creation_input_tokens",
};

const parsed = (text: string): Record<string, unknown> => (jsonOf(text) ?? {}) as Record<string, unknown>;

function eventReader(): UsageReader {
  const tokens = none();
  /** Of the line that has not ended yet. */
  let open = "";
  let isTooLong = false;
  /** Of the answer, each a token at least: they count where whoever asked hangs up before it is told what they came to. */
  let parts = 0;
  let isToldAll = false;
  const keep = (piece: string) => {
    isTooLong ||= open.length + piece.length > LINE_MAX;
    open = isTooLong ? "" : open + piece;
  };
  const hear = (line: string) => {
    if (line.startsWith("event: content_block_delta")) parts++;
    // Most lines are words of the answer, which tell nothing.
    if (!line.startsWith("data:") || !line.includes('"usage"')) return;
    const { message, usage } = parsed(line.slice(5));
    take(tokens, (message as { usage?: unknown } | undefined)?.usage);
    take(tokens, usage);
    isToldAll ||= usage !== undefined;
  };
  return {
    push(bytes) {
      // Only what is new is searched for ends of lines, or one without an end would be searched again for each piece.
      const [first = "", ...others] = bytes.toString("latin1").split("\n");
      keep(first);
      for (const piece of others) {
        hear(open);
        open = "";
        isTooLong = false;
        keep(piece);
      }
    },
    used: () => (isToldAll ? tokens : { ...tokens, outputTokens: Math.max(tokens.outputTokens, parts) }),
  };
}

function documentReader(): UsageReader {
  let text = "";
  return {
    push(bytes) {
      if (text.length < ANSWER_MAX) text += bytes.toString("latin1");
    },
    used() {
      const tokens = none();
      take(tokens, parsed(text).usage);
      return tokens;
    },
  };
}
