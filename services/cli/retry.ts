// `mesh retry ID`: does an ended task again, as a new task that names the old one.
import { Command } from "commander";
import { printTask, waitAndPrint } from "./deploy.ts";
import { valueOf } from "./outcome.ts";
import { type CommonOptions, tell, withCommonFlags, withMesh } from "./session.ts";

interface Options extends CommonOptions {
  wait?: boolean;
}

export const retryCommand = (): Command =>
  withCommonFlags(
    new Command("retry")
      .description("do an ended task again, as a new one")
      .argument("<id>", "the ended task's id")
      .option("--wait", "watch the new task to its end; exit 0 only if it succeeded"),
  ).action((taskId: string, options: Options) =>
    withMesh(options, async (mesh, interruption) => {
      const task = valueOf(await mesh.retry(taskId));
      if (!options.wait) return printTask(task, options);
      tell(options, `task ${task.taskId}`);
      await waitAndPrint(mesh, task.taskId, options, interruption);
    }),
  );
