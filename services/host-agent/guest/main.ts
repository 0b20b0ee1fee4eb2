// The programs that run beside an attempt, as one: the first argument says which. It is what a distro is given, in one
// file; so none of them may read a file that lies beside it.
import { runWatchdog } from "./watchdog.ts";

const [, , program, ...args] = process.argv;
process.argv.splice(2, 1);

switch (program) {
  case "supervisor":
    await import("./supervisor.ts");
    break;
  case "watchdog":
    runWatchdog(args);
    break;
  default:
    process.stderr.write(`expected supervisor or watchdog, got ${program ?? "nothing"}\n`);
    process.exitCode = 2;
}
