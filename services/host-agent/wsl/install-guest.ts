// Sees to it that a distro has the guest's programs of this very version, before anything in it is spoken to.
import { GUEST_FOLDER, NODE_PROGRAM } from "./distro-layout.ts";
import type { GuestBundle } from "./guest-bundle.ts";
import type { Wsl } from "./wsl.ts";
import { failed, type WslOutcome } from "./wsl-error.ts";

const NODE_LOWEST = 24;

/**
 * Other versions go: nothing that runs reads its file again. What is there already is not written anew, since a full disk
 * would keep the guest from whoever could make room. The last word is said only if all went well.
 */
const INSTALL = `
set -e
umask 022
mkdir -p "$1"
cd "$1"
if echo "$3  $2" | sha256sum --check --status 2>/dev/null; then
  cat > /dev/null
else
  draft=$(mktemp .guest-XXXXXX)
  trap 'rm -f "$draft"' EXIT
  cat > "$draft"
  echo "$3  $draft" | sha256sum --check --quiet
  chmod 444 "$draft"
  mv -f "$draft" "$2"
fi
for other in guest-*.mjs; do [ "$other" = "$2" ] || rm -f "$other"; done
"$4" --version`;

/** Path of the program inside. */
export async function installGuest(
  wsl: Pick<Wsl, "run">,
  distro: string,
  { fileName, bytes, digest }: GuestBundle,
): Promise<WslOutcome<string>> {
  const argv = ["/bin/sh", "-c", INSTALL, "sh", GUEST_FOLDER, fileName, digest, NODE_PROGRAM];
  const end = await wsl.run({ distro, user: "root", argv, stdin: bytes });
  if (!end.ok) return end;
  const { exitCode, stdout, stderr } = end.value;
  const said = stdout.toString().trim();
  const major = Number(/^v(\d+)\./.exec(said)?.[1] ?? 0);
  if (exitCode === 0 && major >= NODE_LOWEST) return { ok: true, value: `${GUEST_FOLDER}/${fileName}` };
  const found =
    major > 0 ? `Node ${said}, where ${NODE_LOWEST} is needed` : `exit code ${exitCode}: ${stderr}`;
  return failed("unknown", `the guest program cannot be put into ${distro} (${found.trim()})`);
}
