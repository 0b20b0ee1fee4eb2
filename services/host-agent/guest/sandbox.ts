// How one command is started so that its whole tree can be ended: in namespaces of its own where this machine gives
// them, tied to this supervisor's life; else in a session of its own. Tried in the order of what they keep away.
import { spawnSync } from "node:child_process";
import { accessSync, constants, mkdirSync, rmSync } from "node:fs";
import path from "node:path";
import { bubblewrap } from "./bubblewrap.ts";
import {
  DEPENDENCIES_PATH,
  DOORS_PATH,
  GIT_PATH,
  HOME_PATH,
  type Network,
  type Sandbox,
  WORK_PATH,
} from "./inside.ts";
import { type Hidden, visibleArguments } from "./visible.ts";

/** Joins the control groups before anything else runs. */
const JOIN = `while [ "$1" != -- ]; do echo $$ > "$1" || exit 125; shift; done; shift; exec "$@"`;

/** Is process 1 of its namespace, so that the command is not: that one would be deaf to SIGTERM. */
const INIT = `mount=$1 work=$2 home=$3 git=$4 dependencies=$5 doors=$6 cwd=$7; shift 7
if [ -n "$work" ]; then
  "$mount" -t tmpfs -o mode=755 mesh /srv && mkdir -p ${WORK_PATH} ${HOME_PATH} ${GIT_PATH} ${DEPENDENCIES_PATH} ${DOORS_PATH} &&
  "$mount" --bind "$work" ${WORK_PATH} && "$mount" --bind "$home" ${HOME_PATH} || exit 125
  test -z "$git" || "$mount" --bind "$git" ${GIT_PATH} || exit 125
  test -z "$dependencies" || "$mount" --bind "$dependencies" ${DEPENDENCIES_PATH} || exit 125
  test -z "$doors" || "$mount" --bind "$doors" ${DOORS_PATH} || exit 125
fi
cd "$cwd" || exit 125
"$@"
exit $?`;

/** What this machine gives, found out by trying it on a folder of ours. Null: what can be seen inside is no matter. */
export function findSandbox(folder: string, hidden: Hidden | null): Sandbox {
  const isRoot = process.getuid?.() === 0;
  const tools = {
    setpriv: find("setpriv"),
    unshare: find("unshare"),
    mount: find("mount"),
    bwrap: find("bwrap"),
  };
  if (process.platform === "linux" && tools.setpriv) {
    const { setpriv, unshare, mount, bwrap } = tools;
    const visible = hidden && visibleArguments(process.env.PATH ?? "", hidden);
    const found = [
      ...(bwrap && visible ? [bubblewrap({ setpriv, bwrap, isRoot, visible })] : []),
      ...(unshare && mount ? [namespaces(setpriv, unshare, mount, isRoot)] : []),
    ].find((sandbox) => works(sandbox, folder, "machine"));
    // Some machines give a sandbox, and no network to be alone in.
    if (found !== undefined) return { ...found, ownNetwork: found.ownNetwork && works(found, folder, "own") };
  }
  return {
    isolation: "process-group",
    ownNetwork: false,
    wrap: ({ argv, procsFiles }) => ["/bin/sh", "-c", JOIN, "sh", ...procsFiles, "--", ...argv],
  };
}

/** With folders as an attempt's are, that is: below one which nobody else may enter. */
function works(sandbox: Sandbox, folder: string, network: Network): boolean {
  const probe = path.join(folder, "sandbox-probe");
  try {
    mkdirSync(path.join(probe, "own"), { recursive: true, mode: 0o700 });
    const own = path.join(probe, "own");
    const [program = "", ...args] = sandbox.wrap({
      attempt: "probe",
      argv: ["/bin/sh", "-c", ": > probe"],
      cwd: WORK_PATH,
      mounts: { workTree: own, home: own, temporary: own, gitDir: own, dependencies: own },
      procsFiles: [],
      network,
    });
    return spawnSync(program, args, { cwd: "/", env: {}, timeout: 10_000 }).status === 0;
  } finally {
    rmSync(probe, { recursive: true, force: true });
  }
}

function namespaces(setpriv: string, unshare: string, mount: string, isRoot: boolean): Sandbox {
  // Dies with the supervisor, even when that is killed; and its namespace with it.
  const apart = [setpriv, "--pdeathsig", "KILL", "--", unshare];
  const asUser = ["--user", "--map-current-user", "--keep-caps"];
  const spaces = ["--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc", "--"];
  const powerless = [setpriv, "--ambient-caps=-all", "--inh-caps=-all", "--bounding-set=-all", "--"];
  return {
    isolation: "namespaces",
    ownNetwork: false,
    wrap: ({ argv, cwd, mounts, procsFiles, doors }) => [
      ...["/bin/sh", "-c", JOIN, "sh", ...procsFiles, "--"],
      ...apart,
      ...(isRoot ? [] : asUser),
      ...spaces,
      ...["/bin/sh", "-c", INIT, "sh", mount],
      ...[mounts?.workTree ?? "", mounts?.home ?? "", mounts?.gitDir ?? "", mounts?.dependencies ?? ""],
      ...[doors ?? "", cwd],
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
