// What a distro of ours is known by, and where everything lies in it. The image is made so, and the host relies on it.

/** No other distro is touched, whatever is asked for. */
const DISTRO_PREFIX = "agent-mesh-";

/** The one that runs instances, and that others are copied from. */
export const GOLDEN_DISTRO = `${DISTRO_PREFIX}golden`;

/** Of one host agent's instances, by its installation: two of one Windows user share the list. */
export const instanceDistro = (installation: string, number: number): string =>
  `${DISTRO_PREFIX}${installation.slice(0, 8)}-${number}`;
export const isInstanceOf = (installation: string, distro: string): boolean =>
  new RegExp(`^${DISTRO_PREFIX}${installation.slice(0, 8)}-\\d+$`).test(distro);

/** Only an image of ours has it: the owner may give names with our prefix, too. */
export const MARKER_FILE = "/etc/agent-mesh-distro";
export const MARKER = "agent-mesh distro";

export const DISTRO_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
export const NODE_PROGRAM = "/usr/local/bin/node";
/** The guest programs, each version in a file of its own name. */
export const GUEST_FOLDER = "/opt/agent-mesh";

/** Of one host agent's, where everything of it lies in a distro. */
export const hostFolderIn = (installation: string): string =>
  `/var/lib/agent-mesh/${installation.slice(0, 13)}`;
export const workspacesIn = (hostFolder: string): string => `${hostFolder}/workspaces`;

export const hasOurPrefix = (distro: string): boolean => distro.toLowerCase().startsWith(DISTRO_PREFIX);

/** Whom an instance's own programs run as, unless each has a user of its own. */
export const DISTRO_USER = "mesh";

/**
 * `/etc/wsl.conf`. Without systemd: distros of one machine would fight over its control groups, and nothing of ours
 * needs it. Without Windows: no drives, no Windows programs, nor their PATH.
 */
export const WSL_CONF = `[boot]
systemd=false

[automount]
enabled=false
mountFsTab=false

[interop]
enabled=false
appendWindowsPath=false

[user]
default=${DISTRO_USER}

[gpu]
enabled=false

[fileServer]
enabled=false
`;
