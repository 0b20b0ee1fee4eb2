// Where the single-file program begins: it is `mesh`, and every program that the mesh starts as a process of its own, by
// the name that it has in a checkout.
import { runService } from "../../../../shared/service/run.ts";
import { run } from "../../main.ts";

const PROGRAMS: Record<string, () => Promise<unknown>> = {
  "services/host-agent/guest/main.ts": () => import("../../../host-agent/guest/main.ts"),
  "services/host-agent/wsl/copy-file.ts": () => import("../../../host-agent/wsl/copy-file.ts"),
  "services/host-agent/main.ts": async () =>
    runService("host-agent", (await import("../../../host-agent/main.ts")).start),
  "services/scheduler/main.ts": async () =>
    runService("scheduler", (await import("../../../scheduler/main.ts")).start),
  "services/status-tracker/main.ts": async () =>
    runService("status-tracker", (await import("../../../status-tracker/main.ts")).start),
  "services/gateway/main.ts": async () =>
    runService("gateway", (await import("../../../gateway/main.ts")).start),
};

const [, , name = ""] = process.argv;
const program = Object.hasOwn(PROGRAMS, name) ? PROGRAMS[name] : undefined;
if (program === undefined) await run();
else {
  // As Node has it in a checkout: the program's name, then its arguments.
  process.argv.splice(1, 1);
  await program();
}
