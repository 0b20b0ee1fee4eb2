// The sandbox by bubblewrap: PID, mount, IPC and UTS namespaces of its own, its own folders writable, the machine's
// programs to be read, nothing else there, and no power to change that. The network is the machine's, or its own.
import { createHash } from "node:crypto";
import {
  DEPENDENCIES_PATH,
  DOORS_PATH,
  GIT_PATH,
  HOME_PATH,
  type Sandbox,
  type SandboxedCommand,
  WORK_PATH,
} from "./inside.ts";
import { CHANNEL, openPortArguments } from "./open-port.ts";

/** Linux and systemd give the ids from here on to nobody (systemd's UIDS-GIDS.md). */
const FIRST_ID = 0x7000_0000;
const ID_BITS = 0x0fff_ffff;

/**
 * Joins the control groups, gives the attempt's folders to its user, once, and hands the sandbox its files of users
 * and groups: programs ask them who they are. Short, or the shell would need a process to write them.
 */
const BEGIN = `
while [ "$1" != -- ]; do echo $$ > "$1" || exit 125; shift; done; shift
user=$1 group=$2; shift 2
while [ "$1" != -- ]; do
  [ "$(stat -c %u -- "$1")" = "$user" ] || chown -hR -- "$user:$group" "$1" || exit 125
  shift
done; shift
exec "$@" 8<<PASSWD 9<<GROUP
root:x:0:0:root:/nonexistent:/bin/false
mesh:x:$user:$group:agent-mesh:${HOME_PATH}:/bin/sh
nobody:x:65534:65534:nobody:/nonexistent:/bin/false
PASSWD
root:x:0:
mesh:x:$group:
nogroup:x:65534:
GROUP`;

/** This very program, shown where there is a port to be opened. */
const NODE_PATH = "/srv/mesh/node";

/** As its user: what that one keeps for himself, nobody else could enter. */
const ENTER = `cd -- "$0" || exit 125; exec "$@"`;

/** The same once the port is open; of what the task has in its environment, nothing has a say before. */
const ENTER_WITH_PORT = `
cd -- "$0" || exit 125
/usr/bin/env -i NODE_CHANNEL_FD=${CHANNEL} "$1" "$2" "$3" "$4" || exit 125
unset NODE_CHANNEL_FD NODE_CHANNEL_SERIALIZATION_MODE; shift 4
exec "$@" ${CHANNEL}>&-`;

/** `visible`: the arguments that show the machine's programs. */
export function bubblewrap(options: {
  setpriv: string;
  bwrap: string;
  isRoot: boolean;
  visible: string[];
}): Sandbox {
  const { setpriv, bwrap, isRoot, visible } = options;
  // A machine's root could read everything that is shown: each attempt gets a user of its own instead. Root it has
  // to remain until the folders are mounted, for nobody else may reach those.
  const become = ["SETUID", "SETGID", "SETPCAP"].flatMap((name) => ["--cap-add", `CAP_${name}`]);
  const powers = isRoot ? ["--cap-drop", "ALL", ...become] : ["--unshare-user", "--cap-drop", "ALL"];
  const none = ["--inh-caps=-all", "--ambient-caps=-all", "--bounding-set=-all", "--no-new-privs", "--"];

  function wrap(command: SandboxedCommand): string[] {
    const { attempt, argv, cwd, mounts, procsFiles, network, port } = command;
    const user = String(isRoot ? userOf(attempt) : process.getuid?.());
    const group = String(isRoot ? user : process.getgid?.());
    const as = isRoot ? [`--reuid=${user}`, `--regid=${group}`, "--clear-groups"] : [];
    return [
      ...["/bin/sh", "-c", BEGIN, "sh", ...procsFiles, "--"],
      ...[user, group, ...(isRoot ? Object.values(mounts ?? {}) : []), "--"],
      // Dies with the supervisor, even when that is killed; and its namespace with it.
      ...[setpriv, "--pdeathsig", "KILL", "--", bwrap, "--die-with-parent"],
      ...["--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try", "--hostname", "mesh"],
      ...(network === "own" ? ["--unshare-net"] : []),
      ...powers,
      ...visible,
      ...["--perms", "0644", "--ro-bind-data", "8", "/etc/passwd"],
      ...["--perms", "0644", "--ro-bind-data", "9", "/etc/group"],
      ...["--proc", "/proc", "--dev", "/dev", "--perms", "1777", "--tmpfs", "/dev/shm"],
      ...["--remount-ro", "/dev"],
      ...ownFolders(command),
      // What lies between the mounts is nobody's to write.
      ...["--remount-ro", "/", "--chdir", "/", "--"],
      ...[setpriv, ...as, ...none, "/bin/sh", "-c"],
      ...(port === undefined ? [ENTER, cwd] : [ENTER_WITH_PORT, cwd, NODE_PATH, ...openPortArguments(port)]),
      ...argv,
    ];
  }
  return { isolation: "sandbox", ownNetwork: true, wrap };
}

function ownFolders({ mounts, doors, port }: SandboxedCommand): string[] {
  if (mounts === null) return [];
  const { workTree, home, temporary, gitDir, dependencies } = mounts;
  // Whoever made the folders for himself alone would otherwise have their parents be so too.
  const open = ["/srv", "/srv/mesh", "/var"].flatMap((folder) => ["--perms", "0755", "--dir", folder]);
  return [
    ...open,
    ...["--bind", workTree, WORK_PATH, "--bind", home, HOME_PATH],
    ...["--bind", temporary, "/tmp", "--bind", temporary, "/var/tmp"],
    ...(gitDir === undefined ? [] : ["--bind", gitDir, GIT_PATH]),
    ...(dependencies === undefined ? [] : ["--bind", dependencies, DEPENDENCIES_PATH]),
    ...(doors === undefined ? [] : ["--ro-bind", doors, DOORS_PATH]),
    ...(port === undefined ? [] : ["--ro-bind", process.execPath, NODE_PATH]),
  ];
}

const userOf = (attempt: string): number =>
  FIRST_ID + (createHash("sha256").update(attempt).digest().readUInt32BE() & ID_BITS);
