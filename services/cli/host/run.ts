// `mesh host run`: the host agent in the foreground, as a service manager starts it. It must never keep a secret
// anywhere but in this process's environment.
import { Command } from "commander";
import { systemErrorCode } from "../../../shared/process/system-error.ts";
import { allowForStop } from "../interruption.ts";
import { messageOf, UsageError } from "../outcome.ts";

interface Options {
  environment?: string;
  logFile?: string;
  image?: string;
}

export const runCommand = (): Command =>
  new Command("run")
    .description("run the host agent until it is told to stop, as a service manager does")
    // Not --env-file, which Node takes for its own wherever it stands.
    .option("--environment <file>", "NAME=value lines, for what the environment does not say itself")
    .option("--log-file <file>", "keep the log there, in pieces of 10 MB, rather than print it")
    .option("--image <file>", "Windows: register the distro from this image first, if the account has none")
    .action(run);

async function run({ environment, logFile, image }: Options): Promise<void> {
  const { runService, STOP_DEADLINE_MS } = await import("../../../shared/service/run.ts");
  const { start } = await import("../../host-agent/main.ts");
  const { openLogFile } = await import("../../../shared/service/log-file.ts");
  // The service's own deadline comes first.
  allowForStop(STOP_DEADLINE_MS + 1_000);
  if (environment !== undefined) orRefuse("--environment", () => process.loadEnvFile(environment));
  const log = logFile === undefined ? undefined : orRefuse("--log-file", () => openLogFile(logFile));
  if (image !== undefined) await importImage(image, (words) => (log ?? process.stderr).write(`${words}\n`));
  await runService("host-agent", start, log);
}

async function importImage(file: string, say: (words: string) => void): Promise<void> {
  const { importOnce } = await import("./image.ts");
  try {
    const said = await importOnce(file);
    if (said !== null) say(`the distro is registered: ${said}`);
  } catch (error) {
    // Where the log is a file, nobody keeps what is printed.
    say(`host-agent: ${messageOf(error)}`);
    throw error;
  }
}

function orRefuse<Value>(flag: string, open: () => Value): Value {
  try {
    return open();
  } catch (error) {
    if (systemErrorCode(error) === undefined) throw error;
    throw new UsageError(`${flag}: ${messageOf(error)}`);
  }
}
