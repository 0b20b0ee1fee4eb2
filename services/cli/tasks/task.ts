// `mesh task ID`: one task as the mesh knows it now.
import { Command } from "commander";
import { valueOf } from "../outcome.ts";
import { type CommonOptions, withCommonFlags, withMesh } from "../session.ts";
import { printTask } from "./deploy.ts";

export const taskCommand = (): Command =>
  withCommonFlags(new Command("task").description("show one task").argument("<id>", "the task's id")).action(
    (taskId: string, options: CommonOptions) =>
      withMesh(options, async (mesh) => printTask(valueOf(await mesh.get(taskId)), options)),
  );
