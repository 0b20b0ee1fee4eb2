// What a line means that somebody types while attached to a task. Pure.
import type { ApiInput } from "../../../shared/contracts/api.ts";

export const ATTACH_HELP = `What you type is told to the agent. Besides:
  /interrupt [TEXT]   it leaves what it is doing, for TEXT; without one that is its end
  /approve [ID]       the tool that asks may be used; the latest that asks, without an ID
  /deny [ID]          or not
  /detach             leave; so do Ctrl+D and Ctrl+C. The task goes on
  //TEXT              tells it a text that begins with a slash
`;

export type Typed =
  | { kind: "say"; words: Omit<ApiInput<"say">, "taskId"> }
  | { kind: "help" }
  | { kind: "detach" }
  | { kind: "nothing" }
  | { kind: "wrong"; problem: string };

/** `asking`: ids of the approvals that have been asked for and not been answered here, the latest last. */
export function readTyped(line: string, asking: readonly string[]): Typed {
  const text = line.trim();
  if (text === "") return { kind: "nothing" };
  if (!text.startsWith("/")) return { kind: "say", words: { text } };
  if (text.startsWith("//")) return { kind: "say", words: { text: text.slice(1) } };
  const [, command = "", rest = ""] = /^\/(\S*)\s*([^]*)$/.exec(text) ?? [];
  switch (command) {
    case "interrupt":
      return { kind: "say", words: { interrupt: true, ...(rest === "" ? {} : { text: rest }) } };
    case "approve":
    case "deny": {
      const id = rest === "" ? asking.at(-1) : rest;
      if (id === undefined) return { kind: "wrong", problem: "no tool has asked for approval" };
      return { kind: "say", words: { approval: { id, allow: command === "approve" } } };
    }
    case "detach":
    case "help":
      return { kind: command };
    default:
      return { kind: "wrong", problem: `there is no /${command}; /help tells what there is` };
  }
}
