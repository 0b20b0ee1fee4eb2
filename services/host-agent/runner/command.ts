// The runner `command`: the task names a command, and its exit code is the verdict.
import type { Command } from "../../../shared/contracts/task.ts";
import type { Runner } from "./runner.ts";

/** A string is for the shell, a list is run as it is. */
export const commandArgv = (command: Command): string[] =>
  typeof command === "string" ? ["/bin/sh", "-c", command] : command;

export const commandRunner: Runner = {
  name: "command",
  plan: ({ run }) => (run === undefined ? null : { argv: commandArgv(run.command), env: run.env ?? {} }),
  judge(exit) {
    if (exit.exitCode === 0) return null;
    return {
      category: "agent",
      message:
        exit.signal === null
          ? `the command exited ${exit.exitCode}`
          : `the command was ended by ${exit.signal}`,
    };
  },
};
