// The program that tells of a kept workspace, and enters it, for whoever asks from another file system: it prints what is
// known of it, or nothing; or its stdio is the shell's. It changes nothing.
import path from "node:path";
import { parseArgs } from "node:util";
import { enterKept } from "./enter-kept.ts";
import { findKept, KEPT_FOLDER } from "./kept-workspaces.ts";

export async function serveKept(args: string[]): Promise<void> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      /** Where everything of its host lies there. */
      "host-folder": { type: "string", default: "" },
      workspaces: { type: "string", default: "" },
      task: { type: "string", default: "" },
      enter: { type: "boolean", default: false },
      "no-sandbox": { type: "boolean", default: false },
      tool: { type: "string", multiple: true, default: [] },
    },
  });
  const kept = await findKept(path.join(values.workspaces, KEPT_FOLDER), values.task);
  if (!values.enter) {
    if (kept !== null) process.stdout.write(`${JSON.stringify(kept.about)}\n`);
    return;
  }
  if (kept === null) throw new Error(`no workspace of task ${values.task} is kept any more`);
  const hidden = values["no-sandbox"] ? null : { dataDir: values["host-folder"], tools: values.tool };
  process.exitCode = (await enterKept(kept, positionals, hidden)) ?? 1;
}
