// The program `mesh`: its verbs, each in a file of its own, in a folder with those that serve the same. It must never
// load what `--help` does not need, and it alone turns outcomes into exit codes: 0, 1 failure, 2 usage, 130 interrupted.
import { Command, CommanderError } from "commander";
import { VERSION } from "../../shared/config/version.ts";
import { backupCommand } from "./backup/backup.ts";
import { restoreCommand } from "./backup/restore.ts";
import { doctorCommand } from "./doctor/doctor.ts";
import { drillCommand } from "./drill/drill.ts";
import { configCommand } from "./fleet/config.ts";
import { cordonCommand, drainCommand, uncordonCommand } from "./fleet/cordon.ts";
import { costsCommand } from "./fleet/costs.ts";
import { hostsCommand } from "./fleet/hosts.ts";
import { pauseCommand, resumeCommand } from "./fleet/pause.ts";
import { stopCommand } from "./fleet/stop.ts";
import { hostCommand } from "./host/host.ts";
import { shellCommand } from "./host/shell.ts";
import { Interrupted, listenForInterruption } from "./interruption.ts";
import { Failure, UsageError } from "./outcome.ts";
import { simulateCommand } from "./simulate/simulate.ts";
import { artifactsCommand } from "./tasks/artifacts.ts";
import { attachCommand } from "./tasks/attach.ts";
import { cancelCommand } from "./tasks/cancel.ts";
import { deadCommand } from "./tasks/dead.ts";
import { deployCommand } from "./tasks/deploy.ts";
import { explainCommand } from "./tasks/explain.ts";
import { logsCommand } from "./tasks/logs.ts";
import { retryCommand } from "./tasks/retry.ts";
import { sayCommand } from "./tasks/say.ts";
import { taskCommand } from "./tasks/task.ts";
import { tasksCommand } from "./tasks/tasks.ts";
import { demoCommand } from "./up/demo.ts";
import { upCommand } from "./up/up.ts";

export async function run(argv: string[] = process.argv): Promise<void> {
  // `mesh logs | head` closes our output: there is nobody to write to.
  for (const stream of [process.stdout, process.stderr])
    stream.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "EPIPE") process.exit(0);
      throw error;
    });
  listenForInterruption();
  const code = await exitCodeOf(argv);
  process.stdout.write("", () => process.stderr.write("", () => process.exit(code)));
}

async function exitCodeOf(argv: string[]): Promise<number> {
  try {
    await program().parseAsync(argv);
    return 0;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    if (error instanceof Interrupted) return error.exitCode;
    if (!(error instanceof UsageError || error instanceof Failure)) throw error;
    // It may name what others have written.
    const { plainText } = await import("./terminal/plain-text.ts");
    if (error.message !== "") process.stderr.write(`mesh: ${plainText(error.message)}\n`);
    return error instanceof UsageError ? 2 : 1;
  }
}

function program(): Command {
  const mesh = new Command("mesh")
    .description(
      "A fleet of machines for coding agents: deploys pull requests, streams what happens, tells the result",
    )
    .version(VERSION)
    .showSuggestionAfterError()
    .addHelpText(
      "after",
      "\nClients find the mesh by --url, MESH_URL, NATS_URL, or the `mesh up` on the data folder (MESH_DATA_DIR)." +
        "\nExit codes: 0 ok, 1 failure, 2 usage, 130 interrupted.",
    );
  for (const command of [
    upCommand(),
    deployCommand(),
    tasksCommand(),
    taskCommand(),
    logsCommand(),
    artifactsCommand(),
    shellCommand(),
    cancelCommand(),
    attachCommand(),
    sayCommand(),
    retryCommand(),
    deadCommand(),
    hostsCommand(),
    hostCommand(),
    doctorCommand(),
    explainCommand(),
    costsCommand(),
    cordonCommand(),
    uncordonCommand(),
    drainCommand(),
    pauseCommand(),
    resumeCommand(),
    stopCommand(),
    configCommand(),
    backupCommand(),
    restoreCommand(),
    drillCommand(),
    simulateCommand(),
    demoCommand(),
  ])
    mesh.addCommand(command);
  beStrict(mesh);
  return mesh;
}

function beStrict(command: Command): void {
  command.exitOverride().allowExcessArguments(false);
  for (const verb of command.commands) beStrict(verb);
}

if (import.meta.main) await run();
