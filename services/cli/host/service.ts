// `mesh host status|logs`: how the service of this machine's host agent is, and what it says.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { Command } from "commander";
import { systemErrorCode } from "../../../shared/process/system-error.ts";
import { interruption } from "../interruption.ts";
import { Failure, messageOf } from "../outcome.ts";
import type { Platform } from "./plan.ts";

export const statusCommand = (): Command =>
  new Command("status")
    .description("how the service is; exit 1 if it does not run")
    .option("--json", "print one line of JSON")
    .action(status);

export const logsCommand = (): Command =>
  new Command("logs")
    .description("what the host agent says as a service, latest last")
    .option("--lines <number>", "of what it has said so far", "100")
    .option("--follow", "and what it says from now on")
    .action(logs);

async function here() {
  const { managerOf } = await import("./managers.ts");
  const { machineOf } = await import("./wanted.ts");
  const platform = process.platform as Platform;
  return { manager: managerOf(platform), machine: machineOf(platform) };
}

async function status({ json }: { json?: boolean }): Promise<void> {
  const { manager, machine } = await here();
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

async function logs({ lines, follow = false }: { lines: string; follow?: boolean }): Promise<void> {
  const { wholeOf } = await import("../tasks/deploy-request.ts");
  const count = wholeOf("--lines", lines, 0, 1_000_000);
  const { manager, machine } = await here();
  const log = manager.log(machine);
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
