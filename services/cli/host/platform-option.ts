// Which platform's service manager a verb is about: this machine's own, unless it is only to be shown.
import { Option } from "commander";

export const platformOption = (): Option =>
  new Option("--platform <name>", "with --dry-run: another platform's service manager")
    .choices(["linux", "darwin", "win32"])
    .default(process.platform);
