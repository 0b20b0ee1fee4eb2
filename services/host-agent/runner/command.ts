// The runner `command`: the task names a command, and its exit code is the verdict.

import type { Command } from "../../../shared/contracts/deploy-request.ts";
import type { Failure } from "../../../shared/contracts/failure.ts";
import { howItEnded, infrastructureFailure } from "../attempt/judgement.ts";
import type { ExitRecord } from "../supervisor/supervisor-link.ts";
import type { Runner } from "./runner.ts";

/** A string is for the shell, a list is run as it is. */
export const commandArgv = (command: Command): string[] =>
  typeof command === "string" ? ["/bin/sh", "-c", command] : command;

export const commandRunner: Runner = {
  name: "command",
  probe: async () => ({ ok: true, version: "1" }),
  start({ request: { run } }, transport) {
    const process = transport.start({ argv: commandArgv(run?.command ?? []), env: run?.env ?? {} });
    return {
      events: noEvents(),
      say: () => false,
      interrupt: () => false,
      answer: () => false,
      outcome: process.finished.then((exit) => ({
        exit,
        failure: infrastructureFailure(exit, "the command") ?? verdictOn(exit),
      })),
    };
  },
};

async function* noEvents() {}

const verdictOn = (exit: ExitRecord): Failure | null =>
  exit.exitCode === 0 ? null : { category: "agent", message: `the command ${howItEnded(exit)}` };
