// What makes an image of a plain Debian or Ubuntu: steps, each a short script for root inside, with what it reads on
// stdin. The same steps for every way to be inside; none of them may need anything of the machine around it.
import { DISTRO_USER, GUEST_FOLDER, MARKER, MARKER_FILE, NODE_PROGRAM, WSL_CONF } from "../distro-layout.ts";
import type { GuestBundle } from "../guest-bundle.ts";

export interface ImageStep {
  /** For a person. */
  name: string;
  script: string;
  args: string[];
  /** What it reads: these bytes, or this folder as a tarball. */
  stdin?: Buffer | { folder: string };
}

/** A program that is brought along, with all that lies in its folder. */
export interface ImagePart {
  name: string;
  version: string;
  folder: string;
  /** Programs that are to be on PATH, each by its path in the folder. */
  programs: Record<string, string>;
}

/** What coding agents and the guest's programs use. */
export const PACKAGES = [
  ...["bubblewrap", "ca-certificates", "curl", "git", "git-lfs", "jq", "make", "openssh-client"],
  ...["patch", "procps", "python3", "ripgrep", "unzip", "util-linux", "xz-utils"],
];

export function imageRecipe(wanted: {
  packages: string[];
  parts: ImagePart[];
  guest: GuestBundle;
}): ImageStep[] {
  return [
    // First: whatever is left of a build that was cut off is known as ours.
    { name: "mark it as ours", script: WRITE, args: [MARKER_FILE], stdin: Buffer.from(`${MARKER}\n`) },
    { name: "packages", script: INSTALL_PACKAGES, args: wanted.packages },
    ...wanted.parts.map(({ name, version, folder, programs }) => ({
      name: `${name} ${version}`,
      script: ADD_PART,
      args: [`${GUEST_FOLDER}/programs/${name}-${version}`, ...Object.entries(programs).flat()],
      stdin: { folder },
    })),
    {
      name: "guest program",
      script: WRITE,
      args: [`${GUEST_FOLDER}/${wanted.guest.fileName}`],
      stdin: wanted.guest.bytes,
    },
    { name: "user", script: ADD_USER, args: [DISTRO_USER] },
    { name: "wsl.conf", script: WRITE, args: ["/etc/wsl.conf"], stdin: Buffer.from(WSL_CONF) },
    { name: "try it", script: TRY, args: [NODE_PROGRAM, ...wanted.parts.flatMap(namesOf)] },
    { name: "tidy up", script: TIDY, args: [] },
  ];
}

const namesOf = ({ programs }: ImagePart): string[] => Object.keys(programs);

const WRITE = `set -e; umask 022; mkdir -p "\${1%/*}"; cat > "$1"`;

/** Those that are not there yet; on a base without dpkg, what nothing works without has to be. */
const INSTALL_PACKAGES = `set -e
if ! command -v dpkg-query > /dev/null; then
  for program in git bwrap setpriv unshare; do
    command -v "$program" > /dev/null || { echo "the base has neither dpkg nor $program" >&2; exit 1; }
  done
  exit 0
fi
missing=
for package; do
  case $(dpkg-query -W -f '\${Status}' "$package" 2> /dev/null) in
    *' installed') ;;
    *) missing="$missing $package" ;;
  esac
done
[ -n "$missing" ] || exit 0
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
apt-get install -y -q --no-install-recommends $missing`;

/** Its folder, then pairs: a name on PATH, and its program in the folder. */
const ADD_PART = `set -e
umask 022
folder=$1; shift
rm -rf "$folder"
mkdir -p "$folder" /usr/local/bin
tar -x --no-same-owner -C "$folder"
while [ $# -gt 0 ]; do
  chmod 755 "$folder/$2"
  ln -sf "$folder/$2" "/usr/local/bin/$1"
  shift 2
done
chmod -R go+rX "$folder"`;

const ADD_USER = `set -e
if grep -q "^$1:" /etc/passwd; then exit 0; fi
if command -v useradd > /dev/null; then
  exec useradd --create-home --user-group --shell /bin/bash "$1"
fi
echo "$1:x:1000:1000::/home/$1:/bin/bash" >> /etc/passwd
echo "$1:x:1000:" >> /etc/group
mkdir -p "/home/$1"
chown 1000:1000 "/home/$1"`;

const TRY = `set -e
node=$1; shift
"$node" --version
git --version
bwrap --version
for program; do echo "$program $("$program" --version)"; done`;

/** What would be the same in every copy, and must not be, or is of no use. */
const TIDY = `set -e
if command -v apt-get > /dev/null; then apt-get clean; fi
rm -rf /var/lib/apt/lists/* /var/log/*.log /var/log/apt /root/.npm /root/.cache /tmp/* /var/tmp/*
rm -f /etc/machine-id /var/lib/dbus/machine-id /etc/ssh/ssh_host_* /etc/resolv.conf /etc/hostname`;
