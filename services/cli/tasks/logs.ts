// `mesh logs ID`: what a task's attempts have said, and with --follow what they say until its end.
import { Command } from "commander";
import type { MeshClient } from "../../../shared/client/mesh-client.ts";
import { refused } from "../outcome.ts";
import { type CommonOptions, withCommonFlags, withMesh } from "../session.ts";

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
      const { MeshError } = await import("../../../shared/client/mesh-client.ts");
      try {
        await print(mesh, taskId, options, interruption);
      } catch (error) {
        throw error instanceof MeshError ? refused(error) : error;
      }
    }),
  );

async function print(mesh: MeshClient, taskId: string, options: Options, signal: AbortSignal): Promise<void> {
  const { logPrinter } = await import("./log-printer.ts");
  const printer = logPrinter(options);
  for await (const log of mesh.logs(taskId, { follow: options.follow, signal })) printer.print(log);
  printer.endLine();
}
