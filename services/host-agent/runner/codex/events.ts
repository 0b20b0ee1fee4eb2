// What one line of `codex exec --json` means: in the mesh's own words, and as the record that the verdict on its run is
// made from. Pure; a line that nobody knows is passed on as it is.
import { z } from "zod";
import type { AgentEvent, AgentUsage } from "../../../../shared/contracts/agent-event.ts";
import { cutText } from "../agent-result.ts";
import { statusIn } from "../provider-status.ts";

export interface Line {
  events: AgentEvent[];
  sessionId?: string;
  /** Its last message. */
  said?: string;
  /** The turn is over, and went well as far as Codex knows. */
  usage?: AgentUsage;
  /** Or it is not, for this reason. */
  failure?: string;
}

/** What Codex does not say of itself. */
interface About {
  model: string;
  version: string;
}

export function readLine(text: string, about: About): Line {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return raw(text);
  }
  const line = CodexLine.safeParse(json);
  if (!line.success) return raw(text);
  switch (line.data.type) {
    case "thread.started": {
      const { thread_id: sessionId } = line.data;
      return { events: [{ type: "started", sessionId, ...about }], sessionId };
    }
    case "turn.started":
      return { events: [] };
    case "item.started":
      return { events: [itemStarted(line.data.item, text)] };
    case "item.completed":
      return itemCompleted(line.data.item, text);
    case "turn.completed": {
      const usage = usageOf(line.data.usage);
      return { events: [{ type: "usage", ...usage }], usage };
    }
    case "turn.failed":
      return { events: [], failure: line.data.error.message };
    case "error":
      return { events: [retryEvent(line.data.message) ?? { type: "raw", text: cutText(text) }] };
  }
}

const raw = (text: string): Line => ({ events: [{ type: "raw", text: cutText(text) }] });

const count = z.int().nonnegative().catch(0);
const Item = z.looseObject({ id: z.string(), type: z.string() });
const CodexLine = z.discriminatedUnion("type", [
  z.object({ type: z.literal("thread.started"), thread_id: z.string() }),
  z.object({ type: z.literal("turn.started") }),
  z.object({ type: z.literal("item.started"), item: Item }),
  z.object({ type: z.literal("item.completed"), item: Item }),
  z.object({
    type: z.literal("turn.completed"),
    usage: z.object({
      input_tokens: count,
      cached_input_tokens: count,
      cache_write_input_tokens: count,
      output_tokens: count,
    }),
  }),
  z.object({ type: z.literal("turn.failed"), error: z.object({ message: z.string() }) }),
  z.object({ type: z.literal("error"), message: z.string() }),
]);
type CodexUsage = Extract<z.output<typeof CodexLine>, { type: "turn.completed" }>["usage"];

const CommandItem = z.object({
  type: z.literal("command_execution"),
  id: z.string(),
  command: z.string(),
  aggregated_output: z.string().catch(""),
  exit_code: z.int().nullable().catch(null),
});
const MessageItem = z.object({ type: z.literal("agent_message"), text: z.string() });
/** Its other tools, as far as they tell how they ended. */
const OtherItem = z.looseObject({
  type: z.enum(["file_change", "mcp_tool_call", "web_search"]),
  id: z.string(),
  status: z.string().optional(),
});

function itemStarted(item: unknown, text: string): AgentEvent {
  const command = CommandItem.safeParse(item);
  if (command.success) {
    const input = JSON.stringify({ command: command.data.command });
    return { type: "toolStart", id: command.data.id, tool: "command", input: cutText(input) };
  }
  const other = OtherItem.safeParse(item);
  if (!other.success) return { type: "raw", text: cutText(text) };
  const { id, type: tool, status: _, ...input } = other.data;
  return { type: "toolStart", id, tool, input: cutText(JSON.stringify(input)) };
}

function itemCompleted(item: unknown, text: string): Line {
  const message = MessageItem.safeParse(item);
  if (message.success)
    return { events: [{ type: "text", text: cutText(message.data.text) }], said: message.data.text };
  const command = CommandItem.safeParse(item);
  if (command.success) {
    const { id, exit_code: exitCode, aggregated_output: output } = command.data;
    return { events: [{ type: "toolEnd", id, ok: exitCode === 0, output: cutText(output) }] };
  }
  const other = OtherItem.safeParse(item);
  if (!other.success) return raw(text);
  const { id, type: _, status, ...output } = other.data;
  const ok = status === undefined || status === "completed";
  return { events: [{ type: "toolEnd", id, ok, output: cutText(JSON.stringify(output)) }] };
}

/** It tells no cost, and one turn in a run. */
const usageOf = (usage: CodexUsage): AgentUsage => ({
  turns: 1,
  costUsd: null,
  inputTokens: Math.max(0, usage.input_tokens - usage.cached_input_tokens),
  outputTokens: usage.output_tokens,
  cacheReadTokens: usage.cached_input_tokens,
  cacheWriteTokens: usage.cache_write_input_tokens,
});

/** "Reconnecting... 1/5 (unexpected status 503 …)" */
function retryEvent(message: string): AgentEvent | null {
  const tries = /^Reconnecting\.\.\. (?:(\d+)\/(\d+))?/.exec(message);
  if (tries === null) return null;
  const [attempt, maxAttempts] = [Number(tries[1] ?? 0), Number(tries[2] ?? 0)];
  return { type: "retry", attempt, maxAttempts, delayMs: 0, status: statusIn(message) };
}
