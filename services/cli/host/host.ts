// `mesh host …`: what concerns this machine's own host agent, each verb in a file of its own.
import { Command } from "commander";
import { imageCommand } from "./image.ts";
import { installCommand, uninstallCommand } from "./install.ts";
import { packageCommand } from "./package.ts";
import { pauseCommand, resumeCommand } from "./pause.ts";
import { runCommand } from "./run.ts";
import { secretCommand } from "./secret.ts";
import { logsCommand, statusCommand } from "./service.ts";

export function hostCommand(): Command {
  const host = new Command("host").description("this machine's own host agent");
  for (const command of [
    installCommand(),
    uninstallCommand(),
    statusCommand(),
    logsCommand(),
    pauseCommand(),
    resumeCommand(),
    secretCommand(),
    runCommand(),
    imageCommand(),
    packageCommand(),
  ])
    host.addCommand(command);
  return host;
}
