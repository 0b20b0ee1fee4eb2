// The host agent under launchd: an agent of whoever installs it, so that it has that one's keychain and programs, and
// runs while they are logged in. Pure.
import path from "node:path";
import { nodeEnvironment } from "./environment-file.ts";
import { emptied, FORGOTTEN, folder, placed, programOf, removed, run, TAKES_WORK_AGAIN } from "./placed.ts";
import {
  type Machine,
  RESTART_SECONDS,
  type ServiceManager,
  STOP_TIMEOUT_MS,
  type Step,
  type Wanted,
} from "./plan.ts";
import { xml } from "./xml.ts";

const LABEL = "net.agent-mesh.host";

const placesIn = ({ home }: Machine) => {
  const folder = path.posix.join(home, "Library/Application Support/agent-mesh");
  const logs = path.posix.join(home, "Library/Logs/agent-mesh");
  return {
    folder,
    logs,
    plist: path.posix.join(home, "Library/LaunchAgents", `${LABEL}.plist`),
    program: path.posix.join(folder, "bin/mesh"),
    environmentFile: path.posix.join(folder, "host.env"),
    caFile: path.posix.join(folder, "ca.pem"),
    logFile: path.posix.join(logs, "host.log"),
    /** What is said before the log is open, and bugs. */
    lastWords: path.posix.join(logs, "host.err"),
  };
};

const domain = ({ uid }: Machine): string => `gui/${uid}`;
const target = (machine: Machine): string => `${domain(machine)}/${LABEL}`;

/** It is told to end, and known until it has. */
const WAIT = 'while launchctl print "$1" >/dev/null 2>&1; do sleep 1; done';
const stop = (machine: Machine, when?: "upgrade"): Step[] => {
  const more = when === undefined ? {} : { when };
  return [
    run("it stops", ["launchctl", "bootout", target(machine)], more),
    run("it has ended", ["/bin/sh", "-c", WAIT, "sh", target(machine)], more),
  ];
};

export const launchd: ServiceManager = {
  install(wanted) {
    const { machine } = wanted;
    const places = placesIn(machine);
    return [
      emptied("upgrade"),
      ...stop(machine, "upgrade"),
      ...placed(wanted, places, nodeEnvironment),
      ...[places.logs, path.posix.dirname(places.plist)].map(folder),
      { why: "the agent", do: "write", path: places.plist, text: plist(wanted), mode: 0o644 },
      run("it starts at every login, and now", ["launchctl", "bootstrap", domain(machine), places.plist]),
      TAKES_WORK_AGAIN,
    ];
  },
  kindOf: () => "service",
  uninstall(machine) {
    const { plist: file, environmentFile, caFile, program } = placesIn(machine);
    return [emptied(), ...stop(machine), ...[file, environmentFile, caFile, program].map(removed), FORGOTTEN];
  },
  environmentFile: (machine) => placesIn(machine).environmentFile,
  pauseFolder: (machine) => path.posix.join(placesIn(machine).folder, "host"),
  left: (machine) => [placesIn(machine).folder, placesIn(machine).logs],
  ask: (machine) => ({ argv: ["launchctl", "print", target(machine)] }),
  answersAlways: false,
  read(answer) {
    const value = (name: string) => new RegExp(`^\\s*${name} = (.*)$`, "m").exec(answer)?.[1] ?? "unknown";
    const pid = Number(value("pid"));
    return {
      kind: "service",
      installed: answer !== "",
      running: value("state") === "running",
      pid: Number.isInteger(pid) ? pid : null,
      words: `${value("state")}, last exit code ${value("last exit code")}`,
    };
  },
  log: (machine) => ({ file: placesIn(machine).logFile }),
};

function plist(wanted: Wanted): string {
  const places = placesIn(wanted.machine);
  const argv = [
    ...programOf(wanted, places),
    ...["host", "run", "--environment", places.environmentFile, "--log-file", places.logFile],
  ];
  return `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
  <key>Label</key><string>${LABEL}</string>
  <key>ProgramArguments</key>
  <array>
${argv.map((word) => `    <string>${xml(word)}</string>`).join("\n")}
  </array>
  <key>WorkingDirectory</key><string>${xml(places.folder)}</string>
  <key>RunAtLoad</key><true/>
  <key>KeepAlive</key><true/>
  <key>ThrottleInterval</key><integer>${RESTART_SECONDS}</integer>
  <key>ExitTimeOut</key><integer>${STOP_TIMEOUT_MS / 1_000}</integer>
  <key>StandardErrorPath</key><string>${xml(places.lastWords)}</string>
</dict>
</plist>
`;
}
