// What an agent's `session/update` means, in the mesh's own words. Chunks of a text become one event once something
// else comes; a tool is told once its input is known. What nobody knows is passed on as it is.
import { z } from "zod";
import type { AgentEvent } from "../../../../shared/contracts/agent-event.ts";
import { cutText } from "../agent-result.ts";

/** A longer text is told in parts, characters. */
const TEXT_MAX = 8_192;

const Text = z.object({ type: z.literal("text"), text: z.string() });
const ToolContent = z.array(z.unknown()).nullish().catch(null);

/** Of a tool's call or its update, what is told; an update names only what has changed. */
export const ToolCall = z.object({
  toolCallId: z.string(),
  name: z.string().nullish().catch(null),
  title: z.string().nullish().catch(null),
  kind: z.string().nullish().catch(null),
  status: z.string().nullish().catch(null),
  rawInput: z.unknown().optional(),
  rawOutput: z.unknown().optional(),
  content: ToolContent,
});
export type ToolCall = z.infer<typeof ToolCall>;

const Update = z.discriminatedUnion("sessionUpdate", [
  z.object({ sessionUpdate: z.literal("agent_message_chunk"), content: z.unknown().optional() }),
  ToolCall.extend({ sessionUpdate: z.literal("tool_call") }),
  ToolCall.extend({ sessionUpdate: z.literal("tool_call_update") }),
  z.object({
    sessionUpdate: z.literal("usage_update"),
    cost: z.object({ amount: z.number().nonnegative(), currency: z.string() }).nullish().catch(null),
  }),
  /** What a client would show beside the work: nothing that was done. */
  z.object({
    sessionUpdate: z.enum([
      "user_message_chunk",
      "available_commands_update",
      "current_mode_update",
      "config_option_update",
      "session_info_update",
    ]),
  }),
]);

interface Tool {
  name: string;
  input: unknown;
  isTold: boolean;
  hasEnded: boolean;
}

export class Updates {
  readonly #emit: (event: AgentEvent) => void;
  readonly #tools = new Map<string, Tool>();
  #chunks = "";
  /** The whole of the last text that it said. */
  lastText = "";
  /** Of the session until now; null while it tells none. */
  costUsd: number | null = null;

  constructor(emit: (event: AgentEvent) => void) {
    this.#emit = emit;
  }

  /** `text` is the line that it came in. */
  hear(update: unknown, text: string): void {
    const parsed = Update.safeParse(update);
    if (!parsed.success) return this.#tell({ type: "raw", text: cutText(text) });
    switch (parsed.data.sessionUpdate) {
      case "agent_message_chunk": {
        const said = Text.safeParse(parsed.data.content);
        this.#chunks += said.success ? said.data.text : "[not text]";
        if (this.#chunks.length > TEXT_MAX) this.flush();
        return;
      }
      case "tool_call":
      case "tool_call_update":
        this.tool(parsed.data);
        return;
      case "usage_update": {
        const { cost } = parsed.data;
        if (cost?.currency === "USD") this.costUsd = cost.amount;
        return;
      }
      default:
        return;
    }
  }

  /** What is known of a tool, from an update or a question about it. */
  tool(call: ToolCall, { isAsked = false }: { isAsked?: boolean } = {}): Tool {
    this.flush();
    const tool = this.#tools.get(call.toolCallId) ?? {
      name: "other",
      input: undefined,
      isTold: false,
      hasEnded: false,
    };
    this.#tools.set(call.toolCallId, tool);
    tool.name = call.name ?? (tool.name === "other" ? (call.kind ?? tool.name) : tool.name);
    if (isSomething(call.rawInput)) tool.input = call.rawInput;
    else if (call.title) tool.input ??= { description: call.title };
    const hasBegun = call.status === "in_progress" || isEnd(call.status);
    if (!tool.isTold && (isAsked || hasBegun || isSomething(call.rawInput))) {
      tool.isTold = true;
      const input = cutText(JSON.stringify(tool.input ?? {}));
      this.#emit({ type: "toolStart", id: call.toolCallId, tool: tool.name, input });
    }
    if (isEnd(call.status) && !tool.hasEnded) {
      tool.hasEnded = true;
      const output = cutText(outputOf(call));
      this.#emit({ type: "toolEnd", id: call.toolCallId, ok: call.status === "completed", output });
    }
    return tool;
  }

  /** The text whose chunks have come is complete. */
  flush(): void {
    if (this.#chunks === "") return;
    this.lastText = this.#chunks;
    this.#chunks = "";
    this.#emit({ type: "text", text: cutText(this.lastText) });
  }

  #tell(event: AgentEvent): void {
    this.flush();
    this.#emit(event);
  }
}

const isEnd = (status: string | null | undefined): boolean => status === "completed" || status === "failed";

const isSomething = (input: unknown): boolean =>
  input !== undefined && input !== null && JSON.stringify(input) !== "{}";

const ContentBlock = z.object({ type: z.literal("content"), content: Text });

function outputOf({ rawOutput, content }: ToolCall): string {
  if (typeof rawOutput === "string") return rawOutput;
  const texts = (content ?? []).flatMap((block) => {
    const text = ContentBlock.safeParse(block);
    return text.success ? [text.data.content.text] : [];
  });
  if (texts.length > 0) return texts.join("\n");
  return isSomething(rawOutput) ? JSON.stringify(rawOutput) : "";
}
