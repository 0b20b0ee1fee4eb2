// What one line of Claude Code's output means: in the mesh's own words, and as the record that the verdict on its run
// is made from. Pure; a line that nobody knows is passed on as it is.
import { z } from "zod";
import type { AgentEvent } from "../../../../shared/contracts/agent-event.ts";
import type { ModelUsed } from "../../attempt/usage-report.ts";
import { cutText } from "../agent-result.ts";
import { ModelUsage, modelsUsed, tokensOfAll } from "./model-usage.ts";

/** Of a run's last `result`, what its verdict needs. */
export interface Result {
  subtype: string;
  isError: boolean;
  /** Why it stopped, such as `completed`, `api_error` or `aborted_streaming`. */
  terminalReason: string | null;
  /** HTTP status of the provider's last answer. */
  apiStatus: number | null;
  text: string;
  turns: number;
  costUsd: number;
  denied: number;
  /** Messages that it has taken and not yet worked on. */
  queued: number;
  /** What it was asked to tell in a form, if it did. */
  structured: unknown;
  models: ModelUsed[];
  usage: Pick<Usage, "inputTokens" | "outputTokens" | "cacheReadTokens" | "cacheWriteTokens">;
}
type Usage = Extract<AgentEvent, { type: "usage" }>;

/** What a line is, besides the events that it makes. */
export interface Line {
  events: AgentEvent[];
  started?: { sessionId: string; model: string; version: string };
  result?: Result;
  /** The kind of failure that a message of the provider's failure names, such as `authentication_failed`. */
  apiError?: string;
  /** Uses of tools that are done; not those of a subagent, of which the session itself says nothing. */
  done?: string[];
  /** A tool asks for leave. */
  asks?: { requestId: string; tool: string; input: unknown };
  /** A request to be asked nothing more. */
  asksNoMore?: string;
  /** It has taken up a message from its stdin. */
  tookMessage?: true;
}

export function readLine(text: string): Line {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return raw(text);
  }
  for (const [schema, read] of READERS) {
    const parsed = schema.safeParse(json);
    if (parsed.success) return read(parsed.data as never, text);
  }
  return raw(text);
}

const raw = (text: string): Line => ({ events: [{ type: "raw", text: cutText(text) }] });
const cutJson = (value: unknown): string => cutText(JSON.stringify(value) ?? "");

/** A schema with what is done with what it has read; the first that fits is taken. */
type Reader = [z.ZodType, (value: never, text: string) => Line];
const reader = <Schema extends z.ZodType>(
  schema: Schema,
  read: (value: z.output<Schema>, text: string) => Line,
): Reader => [schema, read];

const system = <Subtype extends string, Shape extends z.ZodRawShape>(subtype: Subtype, shape: Shape) =>
  z.object({ type: z.literal("system"), subtype: z.literal(subtype), ...shape });

const Content = z.array(z.looseObject({ type: z.string() }));
const Message = z.object({ content: z.union([z.string(), Content]) });

const READERS: Reader[] = [
  reader(
    system("init", { session_id: z.string(), model: z.string(), claude_code_version: z.string() }),
    ({ session_id: sessionId, model, claude_code_version: version }) => ({
      events: [{ type: "started", sessionId, model, version }],
      started: { sessionId, model, version },
    }),
  ),
  reader(
    system("api_retry", {
      attempt: z.int(),
      max_retries: z.int(),
      retry_delay_ms: z.number(),
      error_status: z.int().nullable().catch(null),
    }),
    ({ attempt, max_retries: maxAttempts, retry_delay_ms: delayMs, error_status: status }) => ({
      events: [{ type: "retry", attempt, maxAttempts, delayMs, status }],
    }),
  ),
  reader(system("permission_denied", { tool_name: z.string(), message: z.string() }), (denied) => ({
    events: [{ type: "denied", tool: denied.tool_name, reason: cutText(denied.message) }],
  })),
  reader(
    z.object({ type: z.literal("assistant"), message: Message, error: z.string().optional() }),
    ({ message, error }, text) => ({
      events: blocksOf(message).map((block) => assistantEvent(block, text)),
      ...(error === undefined ? {} : { apiError: error }),
    }),
  ),
  reader(z.object({ type: z.literal("user"), isReplay: z.literal(true) }), () => ({
    events: [],
    tookMessage: true,
  })),
  reader(
    z.object({
      type: z.literal("user"),
      message: Message,
      parent_tool_use_id: z.string().nullable().catch(null),
    }),
    ({ message, parent_tool_use_id: subagent }, text) => {
      const events = blocksOf(message).map((block) => userEvent(block, text));
      const done = events.flatMap((event) => (event.type === "toolEnd" ? [event.id] : []));
      return { events, ...(subagent === null && done.length > 0 ? { done } : {}) };
    },
  ),
  reader(
    z.object({
      type: z.literal("rate_limit_event"),
      rate_limit_info: z.object({ status: z.string(), resetsAt: z.number().optional() }),
    }),
    ({ rate_limit_info: { status, resetsAt } }) => ({
      events: [{ type: "rateLimit", status, resetsAtMs: resetsAt === undefined ? null : resetsAt * 1_000 }],
    }),
  ),
  reader(
    z.object({
      type: z.literal("result"),
      subtype: z.string(),
      is_error: z.boolean(),
      terminal_reason: z.string().nullable().catch(null),
      api_error_status: z.int().nullable().catch(null),
      result: z.string().catch(""),
      errors: z.array(z.string()).catch([]),
      num_turns: z.int().nonnegative().catch(0),
      total_cost_usd: z.number().nonnegative().catch(0),
      queued_turn_count: z.int().catch(0),
      permission_denials: z.array(z.unknown()).catch([]),
      structured_output: z.unknown().optional(),
      modelUsage: ModelUsage,
    }),
    readResult,
  ),
  reader(
    z.object({
      type: z.literal("control_request"),
      request_id: z.string(),
      request: z.object({ subtype: z.literal("can_use_tool"), tool_name: z.string(), input: z.unknown() }),
    }),
    ({ request_id: requestId, request }) => ({
      events: [],
      asks: { requestId, tool: request.tool_name, input: request.input },
    }),
  ),
  reader(z.object({ type: z.literal("control_cancel_request"), request_id: z.string() }), (cancelled) => ({
    events: [],
    asksNoMore: cancelled.request_id,
  })),
  // Its receipt for what was said to it, and signs of life.
  reader(z.object({ type: z.enum(["control_response", "keep_alive"]) }), () => ({ events: [] })),
];

function readResult(value: {
  subtype: string;
  is_error: boolean;
  terminal_reason: string | null;
  api_error_status: number | null;
  result: string;
  errors: string[];
  num_turns: number;
  total_cost_usd: number;
  queued_turn_count: number;
  permission_denials: unknown[];
  structured_output?: unknown;
  modelUsage: z.output<typeof ModelUsage>;
}): Line {
  const models = modelsUsed(value.modelUsage);
  const usage = tokensOfAll(models);
  const result: Result = {
    subtype: value.subtype,
    isError: value.is_error,
    terminalReason: value.terminal_reason,
    apiStatus: value.api_error_status,
    text: value.result || value.errors.join("; "),
    turns: value.num_turns,
    costUsd: value.total_cost_usd,
    denied: value.permission_denials.length,
    queued: value.queued_turn_count,
    structured: value.structured_output,
    usage,
    models,
  };
  return { events: [{ type: "usage", turns: result.turns, costUsd: result.costUsd, ...usage }], result };
}

const blocksOf = ({ content }: z.output<typeof Message>): z.output<typeof Content> =>
  typeof content === "string" ? [{ type: "text", text: content }] : content;

const TextBlock = z.object({ type: z.literal("text"), text: z.string() });
const ToolUse = z.object({
  type: z.literal("tool_use"),
  id: z.string(),
  name: z.string(),
  input: z.unknown(),
});
const ToolResult = z.object({
  type: z.literal("tool_result"),
  tool_use_id: z.string(),
  is_error: z.boolean().default(false),
  content: z.unknown(),
});

function assistantEvent(block: unknown, line: string): AgentEvent {
  const said = TextBlock.safeParse(block);
  if (said.success) return { type: "text", text: cutText(said.data.text) };
  const used = ToolUse.safeParse(block);
  if (!used.success) return { type: "raw", text: cutText(line) };
  const { id, name, input } = used.data;
  return { type: "toolStart", id, tool: name, input: cutJson(input) };
}

function userEvent(block: unknown, line: string): AgentEvent {
  const result = ToolResult.safeParse(block);
  if (!result.success) return { type: "raw", text: cutText(line) };
  const { tool_use_id: id, is_error: isError, content } = result.data;
  return { type: "toolEnd", id, ok: !isError, output: outputText(content) };
}

/** A tool's output is a text, or a list of texts and pictures. */
function outputText(content: unknown): string {
  if (typeof content === "string") return cutText(content);
  const texts = z.array(z.unknown()).safeParse(content);
  if (!texts.success) return content === undefined ? "" : cutJson(content);
  const known = texts.data.map((part) => {
    const text = TextBlock.safeParse(part);
    return text.success ? text.data.text : "[not text]";
  });
  return cutText(known.join("\n"));
}
