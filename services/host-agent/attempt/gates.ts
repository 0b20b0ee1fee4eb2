// The gates of an attempt, run one after the other on the tree that is to be judged: what each of them says, and what
// all of them together come to. Nothing but they says that a task has succeeded.

import type { CheckResult, GateName } from "../../../shared/contracts/attempt-result.ts";
import type { Command, DeployRequest } from "../../../shared/contracts/deploy-request.ts";
import type { Failure } from "../../../shared/contracts/failure.ts";
import { commandArgv } from "../runner/command.ts";
import type { ExitRecord } from "../supervisor/supervisor-link.ts";
import type { Instance } from "./instance.ts";
import { checkVerdict, infrastructureFailure } from "./judgement.ts";
import type { LogSink } from "./log-sink.ts";
import type { RepositoryConfiguration } from "./repository-configuration.ts";

export interface Gate {
  gate: GateName;
  command: Command;
  /** Name of the artifact with its output. */
  log: string;
}

/** The repository's own first, in the order in which they build on each other; then what the request asks for. */
export function gatesOf(
  { gates }: Pick<RepositoryConfiguration, "gates">,
  { checks = [] }: Pick<DeployRequest, "checks">,
): Gate[] {
  const own = (["setup", "lint", "tests", "build"] as const).flatMap((gate) => {
    const command = gates[gate];
    return command === undefined ? [] : [{ gate, command, log: `gate-${gate}` }];
  });
  const asked = checks.map((command, index) => ({
    gate: "check" as const,
    command,
    log: `check-${index + 1}`,
  }));
  return [...own, ...asked];
}

export interface GateRun {
  instance: Instance;
  stretch: string;
  sink: LogSink;
  signal: AbortSignal;
  /** Where an artifact of this name is kept. */
  fileOf(name: string): string;
  onResult(result: CheckResult, exit: ExitRecord): void;
}

/** Null if all of them confirm the work. One that cannot be run confirms nothing; without its setup none is run. */
export async function runGates(gates: Gate[], run: GateRun): Promise<Failure | null> {
  const results: CheckResult[] = [];
  for (const { gate, command, log } of gates) {
    run.sink.phase("validating", `${nameOf(gate, log)}: ${commandInWords(command)}`);
    const output = run.sink.open("check", run.fileOf(log));
    const { instance, stretch } = run;
    const exit = await instance.run({ stretch, argv: commandArgv(command), env: {} }, output);
    await output.end();
    run.signal.throwIfAborted();
    const { exitCode, durationMs } = exit;
    const result = { gate, command, exitCode, durationMs, verdict: checkVerdict(exit), log };
    results.push(result);
    run.onResult(result, exit);
    const problem = infrastructureFailure(exit, nameOf(gate, log));
    if (problem !== null) return problem;
    if (gate === "setup" && result.verdict !== "confirmed") break;
  }
  const refused = results.filter(({ verdict }) => verdict !== "confirmed").map(inWords);
  if (refused.length === 0) return null;
  const unrun = gates.slice(results.length).map(({ gate, log }) => nameOf(gate, log));
  const words = unrun.length === 0 ? refused : [...refused, `not run without it: ${unrun.join(", ")}`];
  return { category: "gate", message: words.join("; ") };
}

const nameOf = (gate: GateName, log: string): string =>
  gate === "check" ? log.replace("-", " ") : `gate ${gate}`;

export const commandInWords = (command: Command): string =>
  (typeof command === "string" ? command : command.join(" ")).slice(0, 200);

function inWords({ gate, command, exitCode, verdict }: CheckResult): string {
  const what = gate === "check" ? "check" : `gate ${gate}`;
  const how = verdict === "refuted" ? `exited ${exitCode}` : `could not be run (exit ${exitCode})`;
  return `${what} \`${commandInWords(command)}\` ${how}`;
}
