// The programs that run beside an attempt, as one: the first argument says which. It is what a distro is given, in one
// file; so none of them may read a file that lies beside it.
import { openPort } from "./open-port.ts";
import { runWatchdog } from "./watchdog.ts";

const [, , program, ...args] = process.argv;
process.argv.splice(2, 1);

switch (program) {
  case "supervisor":
    await import("./supervisor.ts");
    break;
  case "open-port":
    openPort(Number(args[0]));
    break;
  case "watchdog":
    runWatchdog(args);
    break;
  case "workspaces":
    await (await import("../workspace/serve.ts")).serveWorkspaces(args);
    break;
  case "credential":
    await (await import("../workspace/credential-helper.ts")).helpWithCredential(args);
    break;
  case "kept":
    await (await import("../workspace/kept-program.ts")).serveKept(args);
    break;
  case "end-former-life": {
    const { endFormerLife } = await import("./former-life.ts");
    const { ended } = await endFormerLife(args[0] ?? "");
    process.stdout.write(`ended ${ended}\n`);
    break;
  }
  default:
    process.stderr.write(
      `expected supervisor, open-port, watchdog, workspaces, credential, kept or end-former-life, got ${program ?? "nothing"}\n`,
    );
    process.exitCode = 2;
}
