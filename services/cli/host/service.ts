// `mesh host status|logs`: how the service of this machine's host agent is, and what it says.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { Command } from "commander";
import { systemErrorCode } from "../../../shared/process/system-error.ts";
import { interruption } from "../interruption.ts";
import { Failure, messageOf, UsageError } from "../outcome.ts";
import type { Platform, Step } from "./plan.ts";
import { platformOption } from "./platform-option.ts";

interface Options {
  platform: Platform;
  dryRun?: boolean;
}

export const statusCommand = (): Command =>
  withFlags(
    new Command("status")
      .description("how the service is; exit 1 if it does not run")
      .option("--json", "print one line of JSON"),
  ).action(status);

export const logsCommand = (): Command =>
  withFlags(
    new Command("logs")
      .description("what the host agent says as a service, latest last")
      .option("--lines <number>", "of what it has said so far", "100")
      .option("--follow", "and what it says from now on"),
  ).action(logs);

const withFlags = (command: Command): Command =>
  command.option("--dry-run", "print where that is looked for, and do nothing").addOption(platformOption());

async function managerFor({ platform, dryRun }: Options) {
  const { managerOf } = await import("./managers.ts");
  const { machineOf } = await import("./wanted.ts");
  if (!dryRun && platform !== process.platform) throw new UsageError("--platform: goes with --dry-run");
  return { manager: managerOf(platform), machine: machineOf(platform) };
}

/** The command that would be run, as a plan shows one. */
async function show(command: Omit<Extract<Step, { do: "run" }>, "do" | "why">): Promise<void> {
  const { planText } = await import("./show-plan.ts");
  process.stdout.write(planText([{ why: "", do: "run", ...command }]));
}

async function status({ json, ...options }: Options & { json?: boolean }): Promise<void> {
  const { manager, machine } = await managerFor(options);
  if (options.dryRun) return show(manager.ask(machine));
  const { stateOf } = await import("./carry-out.ts");
  const { jsonLine, plainLine } = await import("../terminal/plain-text.ts");
  const state = await stateOf(manager, machine);
  if (json) process.stdout.write(jsonLine(state));
  else if (state.installed)
    process.stdout.write(
      `${plainLine(state.words)}${state.pid === null ? "" : `, process ${state.pid}`}\nsettings: ${manager.environmentFile(machine)}\n`,
    );
  if (!state.installed)
    throw new Failure(json ? "" : "the service is not installed: `mesh host install` does that");
  if (!state.running) throw new Failure("");
}

async function logs({
  lines,
  follow = false,
  ...options
}: Options & { lines: string; follow?: boolean }): Promise<void> {
  const { wholeOf } = await import("../tasks/deploy-request.ts");
  const count = wholeOf("--lines", lines, 0, 1_000_000);
  const { manager, machine } = await managerFor(options);
  const log = manager.log(machine);
  if (options.dryRun) {
    if ("file" in log) process.stdout.write(`read ${log.file}\n`);
    else await show({ argv: log.argv(count, follow) });
    return;
  }
  if ("file" in log) return printFile(log.file, { lines: count, follow, signal: interruption });
  const [program = "", ...args] = log.argv(count, follow);
  const child = spawn(program, args, { stdio: ["ignore", "inherit", "inherit"] });
  interruption.addEventListener("abort", () => child.kill());
  const [code] = (await once(child, "exit")) as [number | null];
  if (code !== 0 && !interruption.aborted) throw new Failure(`${program} exited ${code}`);
}

async function printFile(
  file: string,
  how: { lines: number; follow: boolean; signal: AbortSignal },
): Promise<void> {
  const { tailLog } = await import("./log-tail.ts");
  const { EscapeStripper } = await import("../terminal/plain-text.ts");
  const plain = new EscapeStripper();
  try {
    await tailLog(file, how, (text) => process.stdout.write(plain.push(text)));
  } catch (error) {
    if (systemErrorCode(error) === undefined) throw error;
    throw new Failure(`${messageOf(error)}: has the service been started?`);
  }
}
