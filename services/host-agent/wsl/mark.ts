// Whether a distro has the mark of our image. It has to say so, or that it has none: of a command that was cut off
// nothing is known, and its exit code is that of a file that is not there.
import { MARKER, MARKER_FILE } from "./distro-layout.ts";
import type { Wsl } from "./wsl.ts";
import { failed, type WslOutcome } from "./wsl-error.ts";

const LOOK = 'cat "$1" 2> /dev/null || echo "it has none"';

/** A stopped distro is started for it. */
export async function hasMark(
  run: Wsl["run"],
  distro: string,
  timeoutMs?: number,
): Promise<WslOutcome<boolean>> {
  const argv = ["/bin/sh", "-c", LOOK, "sh", MARKER_FILE];
  const end = await run({ distro, user: "root", argv, ...(timeoutMs === undefined ? {} : { timeoutMs }) });
  if (!end.ok) return end;
  const { stdout, stderr, exitCode } = end.value;
  if (stdout.length === 0)
    return failed(
      "unknown",
      `${distro} did not say whether it is ours: exit code ${exitCode}, ${stderr.trim()}`,
    );
  return { ok: true, value: stdout.toString().startsWith(MARKER) };
}
