// How Claude Code keeps a session, as far as another host needs it to go on with it: in which file, up to which line it
// is whole, and what the agent is told when it goes on. Pure.
import { z } from "zod";
import { jsonOf } from "../lines.ts";
import type { SessionRules } from "../runner.ts";

/** A line of the session that is a message; the session holds much else, which is passed over and kept. */
const Message = z.object({
  type: z.enum(["assistant", "user"]),
  isSidechain: z.boolean().optional(),
  message: z.object({ id: z.string().optional(), content: z.unknown() }),
});
const Blocks = z.array(z.looseObject({ type: z.string() })).catch([]);
const ToolUse = z.object({ type: z.literal("tool_use"), id: z.string() });
const ToolResult = z.object({ type: z.literal("tool_result"), tool_use_id: z.string() });

export const SESSIONS: SessionRules = {
  /** By the folder that it works in. */
  fileOf: (sessionId, workTree) =>
    `.claude/projects/${workTree.replaceAll(/[^A-Za-z0-9]/g, "-")}/${sessionId}.jsonl`,

  read(text) {
    const lines = text.split("\n");
    const toolIds = new Set<string>();
    const unanswered = new Set<string>();
    const answers = new Set<string>();
    let end = 0;
    let turns = 0;
    for (const [index, line] of lines.entries()) {
      const message = messageOf(line);
      if (message === null) continue;
      const blocks = Blocks.parse(message.message.content);
      if (message.type === "assistant") {
        // One answer of the model's may be several lines.
        answers.add(message.message.id ?? `line ${index}`);
        for (const block of blocks) {
          const used = ToolUse.safeParse(block);
          if (used.success) unanswered.add(used.data.id);
        }
        continue;
      }
      const results = blocks.flatMap((block) => ToolResult.safeParse(block).data?.tool_use_id ?? []);
      for (const id of results) {
        unanswered.delete(id);
        toolIds.add(id);
      }
      if (results.length === 0 || unanswered.size > 0) continue;
      end = index + 1;
      turns = answers.size;
    }
    const whole = turns === 0 ? null : { text: `${lines.slice(0, end).join("\n")}\n`, turns };
    return { whole, toolIds };
  },
};

/** Null for a line of something else, and for one that is torn since it was being written. */
function messageOf(line: string): z.infer<typeof Message> | null {
  const { data } = Message.safeParse(jsonOf(line));
  return data === undefined || data.isSidechain === true ? null : data;
}

export const GO_ON = [
  "The machine that you were working on is gone, and you go on on another one.",
  "The files of your work tree are as they were after the last thing that you did here; what git ignores, such as",
  "installed dependencies and build output, is not there, nor is anything outside of the tree, nor what you had",
  "committed or put into git's index. No process of yours is running any more. Go on with your task from there.",
].join("\n");
