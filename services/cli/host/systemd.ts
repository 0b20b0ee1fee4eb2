// The host agent under systemd: a system service of an account that nobody logs in to. Pure.
import { systemdEnvironment } from "./environment-file.ts";
import { emptied, FORGOTTEN, folder, placed, programOf, removed, run, TAKES_WORK_AGAIN } from "./placed.ts";
import {
  DESCRIPTION,
  PlanError,
  RESTART_SECONDS,
  type ServiceManager,
  STOP_TIMEOUT_MS,
  type Step,
} from "./plan.ts";

const UNIT = "mesh-host.service";
const UNIT_FILE = `/etc/systemd/system/${UNIT}`;
const ACCOUNT = "meshagent";
const ACCOUNT_FILE = "/etc/sysusers.d/mesh-host.conf";
const DATA = "/var/lib/agent-mesh";

const PLACES = {
  program: "/opt/agent-mesh/mesh",
  environmentFile: "/etc/agent-mesh/host.env",
  caFile: "/etc/agent-mesh/ca.pem",
};

export const systemd: ServiceManager = {
  install(wanted) {
    const account = wanted.account ?? ACCOUNT;
    const program = programOf(wanted, PLACES);
    const environment = { ...wanted.environment, MESH_DATA_DIR: `${DATA}/host` };
    return [
      emptied("upgrade"),
      run("it stops", ["systemctl", "stop", UNIT], { when: "upgrade" }),
      ...(wanted.account === null ? ownAccount() : []),
      // Root's alone: systemd reads the settings for the agent, and what it runs cannot read them in a file.
      ...placed({ ...wanted, environment }, PLACES, systemdEnvironment),
      run("the account can run it", ["runuser", "-u", account, "--", ...program, "--version"]),
      { why: "the service", do: "write", path: UNIT_FILE, text: unit(account, program), mode: 0o644 },
      run("systemd reads it", ["systemctl", "daemon-reload"]),
      run("it starts with the machine, and now", ["systemctl", "enable", "--now", UNIT]),
      TAKES_WORK_AGAIN,
    ];
  },
  kindOf: () => "service",
  uninstall: () => [
    emptied(),
    run("it stops", ["systemctl", "disable", "--now", UNIT]),
    ...[UNIT_FILE, ...Object.values(PLACES), ACCOUNT_FILE].map(removed),
    run("systemd forgets it", ["systemctl", "daemon-reload"]),
    FORGOTTEN,
  ],
  environmentFile: () => PLACES.environmentFile,
  left: () => [DATA],
  pauseFolder: () => `${DATA}/host`,
  ask: () => ({
    argv: ["systemctl", "show", UNIT, "--property=LoadState,ActiveState,SubState,MainPID,NRestarts,Result"],
  }),
  answersAlways: true,
  read(answer) {
    const shown = new Map(answer.split("\n").map((line) => line.split("=") as [string, string]));
    const pid = Number(shown.get("MainPID") ?? 0);
    return {
      kind: "service",
      installed: shown.get("LoadState") === "loaded",
      running: shown.get("ActiveState") === "active",
      pid: pid === 0 ? null : pid,
      words: `${shown.get("ActiveState")} (${shown.get("SubState")}), last result ${shown.get("Result")}, started again ${shown.get("NRestarts")} times`,
    };
  },
  log: () => ({
    argv: (lines, follow) => [
      ...["journalctl", "--unit", UNIT, "--output", "cat", "--no-pager", "--lines", String(lines)],
      ...(follow ? ["--follow"] : []),
    ],
  }),
};

/** Made by systemd from a line that may stand there already. */
const ownAccount = (): Step[] => [
  folder("/etc/sysusers.d"),
  {
    why: "an account that nobody logs in to",
    do: "write",
    path: ACCOUNT_FILE,
    text: `u ${ACCOUNT} - "agent-mesh host agent" ${DATA}\n`,
    mode: 0o644,
  },
  run("systemd makes it", ["systemd-sysusers", ACCOUNT_FILE]),
];

function unit(account: string, program: [string, ...string[]]): string {
  if (!/^[a-z_][a-z0-9_-]*\$?$/i.test(account))
    throw new PlanError(`--account: expected the name of an account of this machine, not ${account}`);
  const [file, ...words] = program;
  return `[Unit]
Description=${DESCRIPTION}
Wants=network-online.target
After=network-online.target
StartLimitIntervalSec=0

[Service]
ExecStart=${[path(file), ...[...words, "host", "run"].map(argument)].join(" ")}
EnvironmentFile=${PLACES.environmentFile}
User=${account}
StateDirectory=agent-mesh
StateDirectoryMode=0700
WorkingDirectory=${DATA}
# Told by \`mesh stop\` to finish, it ends with exit code 0, and is started again: in its new version, if there is one.
Restart=always
RestartSec=${RESTART_SECONDS}
# SIGTERM is for the agent alone, which ends what it runs; whatever has not ended by then is killed.
KillMode=mixed
TimeoutStopSec=${STOP_TIMEOUT_MS / 1_000}
# Control groups of attempts lie below this one's. One that dies of its memory limit is no matter for the service.
Delegate=yes
OOMPolicy=continue
TasksMax=infinity
LimitNOFILE=65536

[Install]
WantedBy=multi-user.target
`;
}

/** The program's own path knows specifiers, but no variables, and systemd wants no quotes and backslashes in it. */
function path(text: string): string {
  if (/["'\\]/.test(text)) throw new PlanError(`expected a path without quotes and backslashes, not ${text}`);
  return quoted(text.replaceAll("%", "%%"));
}
const argument = (text: string): string => quoted(text.replaceAll("%", "%%").replaceAll("$", "$$$$"));

function quoted(text: string): string {
  if (/[\u0000-\u001f]/.test(text))
    throw new PlanError(`expected a path in one line, not ${JSON.stringify(text)}`);
  return /^[\w@%+=:,./$-]+$/.test(text)
    ? text
    : `"${text.replaceAll(/["\\]/g, (character) => `\\${character}`)}"`;
}
