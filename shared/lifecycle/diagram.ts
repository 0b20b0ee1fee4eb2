// The lifecycle's diagram, written from the table, so that the two cannot differ.
import { FACT_KINDS } from "../contracts/fact.ts";
import { TaskState } from "../contracts/task.ts";
import { isEnd, RULES, TABLE } from "./table.ts";

/** A Mermaid state diagram of every fact that changes a state (and of `resumed`, which keeps it). */
export function lifecycleDiagram(): string {
  const lines = ["stateDiagram-v2", "  [*] --> unknown"];
  for (const state of TaskState.options) {
    for (const kind of FACT_KINDS) {
      const cell = TABLE[state][kind];
      if (cell === "ignored") continue;
      const [to, when] =
        typeof cell === "string" ? [cell, ""] : [RULES[cell.rule].to, ` [${RULES[cell.rule].when}]`];
      lines.push(`  ${state} --> ${to}: ${kind}${when}`);
    }
    if (isEnd(state)) lines.push(`  ${state} --> [*]`);
  }
  return lines.join("\n");
}
