// Puts what an earlier attempt has kept into a fresh instance: its work onto the tree, its session where its agent will
// look for it. Both are done inside, as the attempt's own user: neither is trusted more than what runs there.
import type { Instance } from "../attempt/instance.ts";
import { restoreCommand } from "../workspace/patch.ts";
import { TRUSTED_PATHS } from "../workspace/trusted-files.ts";
import type { Kept } from "./find.ts";

const MAX_BYTES = 65_536;

/** Null once it is there; else why it is not, and the tree may be anything. */
export async function restoreKept(
  instance: Instance,
  { patch, session }: Pick<Kept, "patch" | "session">,
  sessionFile: string,
): Promise<string | null> {
  if (patch.length > 0) {
    const { exit, complaint } = await instance.call(restoreCommand(TRUSTED_PATHS), {
      ...{ stdin: patch, maxBytes: MAX_BYTES },
    });
    if (exit.exitCode !== 0) return `its work does not apply: ${complaint.trim()}`;
  }
  const write = 'umask 077 && mkdir -p -- "${1%/*}" && cat > "$1"';
  const argv = ["/bin/sh", "-c", write, "sh", `${instance.home}/${sessionFile}`];
  const { exit, complaint } = await instance.call({ argv, env: {} }, { stdin: session, maxBytes: MAX_BYTES });
  return exit.exitCode === 0 ? null : `its session could not be written: ${complaint.trim()}`;
}
