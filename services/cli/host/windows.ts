// The host agent on Windows: a service by WinSW, or a scheduled task where there is none, under an account of its own.
// No secret is on a command line, nor in a file that others may read. Pure.
import path from "node:path";
import { nodeEnvironment } from "./environment-file.ts";
import { emptied, FORGOTTEN, folder, placed, programOf, removed, run, TAKES_WORK_AGAIN } from "./placed.ts";
import type { Machine, ServiceManager, Step, Wanted } from "./plan.ts";
import { literal, powershell } from "./powershell.ts";
import { TASK, taskFile } from "./scheduled-task.ts";
import { accountOf, onlyFor, ownAccount, ownersFolder } from "./windows-account.ts";
import { SERVICE, winswFile } from "./windows-service.ts";

function placesIn({ programFiles, programData }: Machine) {
  const settings = path.win32.join(programData, "agent-mesh");
  const state = path.win32.join(settings, "state");
  return {
    program: path.win32.join(programFiles, "agent-mesh", "mesh.exe"),
    /** For the account to read; what of it holds secrets lies here. */
    settings,
    environmentFile: path.win32.join(settings, "host.env"),
    caFile: path.win32.join(settings, "ca.pem"),
    winsw: path.win32.join(settings, `${SERVICE}.exe`),
    winswFile: path.win32.join(settings, `${SERVICE}.xml`),
    taskFile: path.win32.join(settings, "task.xml"),
    /** WSL tells by its name's end what a file is. */
    imageFile: (image: string) =>
      path.win32.join(settings, `image${/\.tar(\.gz|\.xz)?$/.exec(image)?.[0] ?? ""}`),
    /** For whoever is logged on to change: there a pause is said. */
    owner: path.win32.join(settings, "owner"),
    /** For the account to change. */
    state,
    logs: path.win32.join(state, "log"),
    logFile: path.win32.join(state, "log", "host.log"),
  };
}

export const windows: ServiceManager = {
  install(wanted) {
    const places = placesIn(wanted.machine);
    const account = accountOf(wanted.account);
    const environment = {
      ...wanted.environment,
      MESH_DATA_DIR: path.win32.join(places.state, "host"),
      MESH_HOST_PAUSE_DIR: places.owner,
    };
    return [
      emptied("upgrade"),
      script("it stops", STOP, { when: "upgrade" }),
      ...(wanted.account === null ? [ownAccount(wanted.password)] : []),
      ...[places.settings, places.logs, places.owner].map(folder),
      onlyFor("settings are for the account to read", places.settings, account, "read"),
      onlyFor("its data is for it to change", places.state, account, "change"),
      ...ownersFolder(places.settings, places.owner, account),
      ...placed({ ...wanted, environment }, places, nodeEnvironment),
      ...imageSteps(wanted),
      ...(wanted.winsw === null ? task(wanted, account) : service(wanted, account, wanted.winsw)),
      TAKES_WORK_AGAIN,
    ];
  },
  kindOf: ({ winsw }) => (winsw === null ? "scheduled task" : "service"),
  uninstall(machine) {
    const { environmentFile, caFile, winsw, winswFile: file, taskFile: taskXml, program } = placesIn(machine);
    return [
      emptied(),
      script("it stops", STOP),
      script(
        "Windows forgets it",
        `if (Get-Service ${SERVICE} -ErrorAction SilentlyContinue) { & sc.exe delete ${SERVICE} | Out-Null; if ($LASTEXITCODE) { throw 'sc.exe delete failed' } } else { Unregister-ScheduledTask -TaskName ${literal(TASK)} -Confirm:$false -ErrorAction SilentlyContinue }`,
      ),
      ...[environmentFile, caFile, winsw, file, taskXml, program].map(removed),
      FORGOTTEN,
    ];
  },
  environmentFile: (machine) => placesIn(machine).environmentFile,
  left: (machine) => [placesIn(machine).state, placesIn(machine).owner],
  pauseFolder: (machine) => placesIn(machine).owner,
  ask: () => ({
    argv: powershell.argv,
    input: powershell.script([
      `$service = Get-CimInstance Win32_Service -Filter ${literal(`Name='${SERVICE}'`)}`,
      `$task = Get-ScheduledTask -TaskName ${literal(TASK)} -ErrorAction SilentlyContinue`,
      `if ($service) { $service | Select-Object State, ProcessId, ExitCode, StartName | ConvertTo-Json -Compress } elseif ($task) { $task | Select-Object @{n='State';e={[string]$_.State}}, @{n='ExitCode';e={($_ | Get-ScheduledTaskInfo).LastTaskResult}}, @{n='StartName';e={$_.Principal.UserId}} | ConvertTo-Json -Compress }`,
    ]),
  }),
  answersAlways: true,
  read(answer) {
    if (answer.trim() === "")
      return { installed: false, kind: "service", running: false, pid: null, words: "" };
    const { State, ProcessId, ExitCode, StartName } = JSON.parse(answer) as Record<string, string | number>;
    return {
      installed: true,
      // Only a service's process has a number.
      kind: ProcessId === undefined ? "scheduled task" : "service",
      running: State === "Running",
      pid: Number(ProcessId) || null,
      words: `${State}, as ${StartName}, last exit code ${ExitCode}`,
    };
  },
  log: (machine) => ({ file: placesIn(machine).logFile }),
};

const STOP = `if (Get-Service ${SERVICE} -ErrorAction SilentlyContinue) { Stop-Service ${SERVICE} } else { Stop-ScheduledTask -TaskName ${literal(TASK)} -ErrorAction SilentlyContinue }`;

const script = (why: string, statement: string, more: { when?: "new" | "upgrade" } = {}): Step =>
  run(why, powershell.argv, { ...more, input: powershell.script([statement]) });

function commandLine(wanted: Wanted): [string, ...string[]] {
  const places = placesIn(wanted.machine);
  const files = ["--environment", places.environmentFile, "--log-file", places.logFile];
  const image = wanted.image === null ? [] : ["--image", places.imageFile(wanted.image)];
  return [...programOf(wanted, places), "host", "run", ...files, ...image];
}

function imageSteps({ image, machine }: Wanted): Step[] {
  if (image === null) return [];
  const to = placesIn(machine).imageFile(image);
  return [
    { why: "the distro's image, which the service registers", do: "copy", from: image, to, mode: 0o644 },
  ];
}

function service(wanted: Wanted, account: string, winsw: string): Step[] {
  const places = placesIn(wanted.machine);
  const file = { argv: commandLine(wanted), folder: places.state, logs: places.logs };
  const write = (why: string, text: string, when?: "new"): Step => ({
    why,
    ...(when === undefined ? {} : { when }),
    do: "write",
    path: places.winswFile,
    text,
    mode: 0o600,
  });
  return [
    {
      why: "WinSW, which finds its file by its own name",
      do: "copy",
      from: winsw,
      to: places.winsw,
      mode: 0o755,
    },
    write(
      "the service, with the password that Windows is to keep",
      winswFile({ ...file, account: { name: account, password: wanted.password } }),
      "new",
    ),
    run("Windows is told of it", [places.winsw, "install"], { when: "new" }),
    write("the service, without the password from now on", winswFile({ ...file, account: null })),
    script("it starts", `Start-Service ${SERVICE}`),
  ];
}

function task(wanted: Wanted, account: string): Step[] {
  const places = placesIn(wanted.machine);
  const name = literal(TASK);
  return [
    {
      why: "the task",
      do: "write",
      path: places.taskFile,
      text: taskFile(commandLine(wanted), places.state, account),
      mode: 0o600,
    },
    // What `schtasks /Create /XML` does, which would have the password on its command line.
    script(
      "Windows is told of it",
      `Register-ScheduledTask -TaskName ${name} -Xml (Get-Content -Raw -Encoding UTF8 -LiteralPath ${literal(places.taskFile)}) -User ${literal(account)} -Password ${literal(wanted.password)} | Out-Null`,
      { when: "new" },
    ),
    script("it starts", `Start-ScheduledTask -TaskName ${name}`),
  ];
}
