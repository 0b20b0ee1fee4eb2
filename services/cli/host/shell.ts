// `mesh shell ID`: enters the workspace that a failed attempt has left on this machine. There is no way to one on
// another machine: whoever may have a shell there has one without the mesh.
import path from "node:path";
import { Command } from "commander";
import { Failure, messageOf } from "../outcome.ts";
import { orSay } from "../up/up.ts";

interface Options {
  data?: string;
}

export const shellCommand = (): Command =>
  new Command("shell")
    .description("enter what a task deployed with --keep-workspace has left, on the host where it failed")
    .usage("ID [-- CMD ARG…]")
    .argument("<id>", "the task's id")
    .argument("[command...]", "run in there in place of a shell")
    .option("--data <folder>", "the host's data folder, or the one of `mesh up` (default: MESH_DATA_DIR)")
    .action(async (taskId: string, command: string[], options: Options) => {
      if (process.platform !== "linux" && process.platform !== "win32")
        throw new Failure(
          "workspaces are kept on hosts with Linux or WSL2 only: there is none on this machine",
        );
      const { defaultDataDir } = await import("../../../shared/config/environment.ts");
      const { readSettings } = await import("../../../shared/config/mesh-config.ts");
      const { findKeptShell } = await import("../../host-agent/kept-shell.ts");
      const environment = await orSay(() => readSettings());
      const dataDir = options.data ?? environment.MESH_DATA_DIR ?? defaultDataDir();
      const found = findKeptShell(path.resolve(dataDir), taskId, environment);
      const shell = await found.catch((error: unknown) => {
        throw new Failure(`cannot look for the workspace: ${messageOf(error)}`);
      });
      if (shell === null)
        throw new Failure(
          `${dataDir} keeps no workspace of task ${taskId}: run this on its host, as the user of the host agent, within a day of a failed attempt that was deployed with --keep-workspace`,
        );
      const { about } = shell;
      if (process.stderr.isTTY)
        process.stderr.write(
          `Attempt ${about.attempt} of ${about.repository} at ${about.sha.slice(0, 12)}, kept until ${about.until}.\n` +
            "Its limits of memory and processes do not hold here, and nothing that you change is taken anywhere.\n",
        );
      let exitCode: number | null;
      try {
        exitCode = await shell.enter(command);
      } catch (error) {
        throw new Failure(`the workspace cannot be entered: ${messageOf(error)}`);
      }
      if (command.length > 0 && exitCode !== 0)
        throw new Failure(`the command exited ${exitCode ?? "by a signal"}`);
    });
