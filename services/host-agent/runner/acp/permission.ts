// What an agent that asks for leave is told: which of its options says so, and what needs nobody's leave. Pure.
import { z } from "zod";
import { ToolCall } from "./updates.ts";

export const PermissionRequest = z.object({
  sessionId: z.string(),
  toolCall: ToolCall,
  options: z.array(z.object({ optionId: z.string(), kind: z.string() })),
});
export type PermissionRequest = z.infer<typeof PermissionRequest>;

const READING = new Set(["read", "search", "think"]);
const EDITING = new Set(["edit", "delete", "move"]);

/** As with Claude Code it may read, and, where its work may change something, edit files: its sandbox keeps it to its own. */
export function needsNoLeave({ toolCall }: PermissionRequest, readsOnly: boolean): boolean {
  const kind = toolCall.kind ?? "other";
  return READING.has(kind) || (!readsOnly && EDITING.has(kind));
}

/** One for this time alone goes first, so that the next is asked about again. */
const SAYS = { allow: ["allow_once", "allow_always"], deny: ["reject_once", "reject_always"] };

/** The answer to its request; one that offers no such option is told that its turn was cancelled. */
export function outcomeOf({ options }: PermissionRequest, word: keyof typeof SAYS): object {
  const chosen = SAYS[word]
    .map((kind) => options.find((option) => option.kind === kind))
    .find((option) => option !== undefined);
  return chosen === undefined ? CANCELLED : { outcome: { outcome: "selected", optionId: chosen.optionId } };
}

export const CANCELLED = { outcome: { outcome: "cancelled" } };
