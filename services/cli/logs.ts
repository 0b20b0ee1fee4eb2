// `mesh logs ID`: what a task's attempts have said, and with --follow what they say until its end. Output goes to
// standard output as plain text, the phases to standard error.
import { Command } from "commander";
import type { MeshClient } from "../../shared/client/mesh-client.ts";
import { refused } from "./outcome.ts";
import { type CommonOptions, tell, withCommonFlags, withMesh } from "./session.ts";

interface Options extends CommonOptions {
  follow?: boolean;
}

export const logsCommand = (): Command =>
  withCommonFlags(
    new Command("logs")
      .description("print a task's output")
      .argument("<id>", "the task's id")
      .option("-f, --follow", "go on until the task has ended"),
  ).action((taskId: string, options: Options) =>
    withMesh(options, async (mesh, interruption) => {
      const { MeshError } = await import("../../shared/client/mesh-client.ts");
      try {
        await print(mesh, taskId, options, interruption);
      } catch (error) {
        throw error instanceof MeshError ? refused(error) : error;
      }
    }),
  );

async function print(mesh: MeshClient, taskId: string, options: Options, signal: AbortSignal): Promise<void> {
  const { EscapeStripper, jsonLine, plainLine } = await import("./plain-text.ts");
  const { onStderr } = await import("./table.ts");
  const strippers = new Map<string, InstanceType<typeof EscapeStripper>>();
  let lineIsOpen = false;
  let lastSource = "";
  for await (const log of mesh.logs(taskId, { follow: options.follow, signal })) {
    if (options.json) {
      process.stdout.write(jsonLine(log));
      continue;
    }
    const source = `${log.attempt} ${log.source}`;
    if (lineIsOpen && source !== lastSource) {
      process.stdout.write("\n");
      lineIsOpen = false;
    }
    lastSource = source;
    if (log.source === "phase") {
      tell(options, onStderr("dim", `── ${log.hostId}, attempt ${log.attempt}: ${plainLine(log.text)}`));
      continue;
    }
    const stripper = strippers.get(source) ?? new EscapeStripper();
    strippers.set(source, stripper);
    const text = stripper.push(log.text);
    process.stdout.write(text);
    if (text !== "") lineIsOpen = !text.endsWith("\n");
  }
  if (lineIsOpen) process.stdout.write("\n");
}
