// How one command is started so that its whole tree can be ended: in PID and mount namespaces of its own where the
// kernel gives them, tied to this supervisor's life; else in a session of its own.
import { spawnSync } from "node:child_process";
import { accessSync, constants } from "node:fs";
import path from "node:path";

/** The same in every instance of every host. */
export const WORK_PATH = "/srv/mesh/work";
export const HOME_PATH = "/srv/mesh/home";

export interface Sandbox {
  isolation: "namespaces" | "process-group";
  /** Argv that starts the command; `procsFiles` are the control groups it joins first. */
  wrap(command: {
    argv: string[];
    cwd: string;
    mounts: { workTree: string; home: string } | null;
    procsFiles: string[];
  }): string[];
}

/** Joins the control groups before anything else runs. */
const JOIN = `while [ "$1" != -- ]; do echo $$ > "$1" || exit 125; shift; done; shift; exec "$@"`;

/** Is process 1 of its namespace, so that the command is not: that one would be deaf to SIGTERM. */
const INIT = `mount=$1 work=$2 home=$3 cwd=$4; shift 4
if [ -n "$work" ]; then
  "$mount" -t tmpfs -o mode=755 mesh /srv && mkdir -p ${WORK_PATH} ${HOME_PATH} &&
  "$mount" --bind "$work" ${WORK_PATH} && "$mount" --bind "$home" ${HOME_PATH} || exit 125
fi
cd "$cwd" || exit 125
"$@"
exit $?`;

/** What the kernel gives, found out by trying it on a folder of ours: whole file systems are not ours to mount. */
export function findSandbox(folder: string): Sandbox {
  const tools = { setpriv: find("setpriv"), unshare: find("unshare"), mount: find("mount") };
  if (process.platform === "linux" && tools.setpriv && tools.unshare && tools.mount) {
    const sandbox = namespaces(tools.setpriv, tools.unshare, tools.mount, process.getuid?.() === 0);
    const probe = {
      argv: ["/bin/true"],
      cwd: WORK_PATH,
      mounts: { workTree: folder, home: folder },
      procsFiles: [],
    };
    const [program = "", ...args] = sandbox.wrap(probe);
    if (spawnSync(program, args, { env: {}, timeout: 10_000 }).status === 0) return sandbox;
  }
  return {
    isolation: "process-group",
    wrap: ({ argv, procsFiles }) => ["/bin/sh", "-c", JOIN, "sh", ...procsFiles, "--", ...argv],
  };
}

function namespaces(setpriv: string, unshare: string, mount: string, isRoot: boolean): Sandbox {
  // Dies with the supervisor, even when that is killed; and its namespace with it.
  const apart = [setpriv, "--pdeathsig", "KILL", "--", unshare];
  const asUser = ["--user", "--map-current-user", "--keep-caps"];
  const spaces = ["--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc", "--"];
  const powerless = [setpriv, "--ambient-caps=-all", "--inh-caps=-all", "--bounding-set=-all", "--"];
  return {
    isolation: "namespaces",
    wrap: ({ argv, cwd, mounts, procsFiles }) => [
      ...["/bin/sh", "-c", JOIN, "sh", ...procsFiles, "--"],
      ...apart,
      ...(isRoot ? [] : asUser),
      ...spaces,
      ...["/bin/sh", "-c", INIT, "sh", mount, mounts?.workTree ?? "", mounts?.home ?? "", cwd],
      ...(isRoot ? [] : powerless),
      ...argv,
    ],
  };
}

/** By its full path: what a task calls PATH is the task's business. */
function find(program: string): string | null {
  for (const folder of [...(process.env.PATH ?? "").split(":"), "/usr/sbin", "/usr/bin", "/sbin", "/bin"]) {
    const file = path.join(folder, program);
    try {
      accessSync(file, constants.X_OK);
      if (path.isAbsolute(file)) return file;
    } catch {
      // Not here.
    }
  }
  return null;
}
