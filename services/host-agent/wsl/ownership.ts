// Which distros are ours to stop and to remove: those with our prefix that have our mark inside, or that this process
// has made itself. Whatever cannot be looked into is somebody else's.
import { isDistroName } from "./command-line.ts";
import { hasOurPrefix, MARKER_FILE } from "./distro-layout.ts";
import { hasMark } from "./mark.ts";
import type { WslCommands } from "./wsl-commands.ts";
import { failed, type WslFailure } from "./wsl-error.ts";

export function distroOwnership({ run }: Pick<WslCommands, "run">, timeoutMs: number) {
  const ours = new Set<string>();

  return {
    /** Made by this process. */
    made: (distro: string): void => void ours.add(distro.toLowerCase()),
    removed: (distro: string): void => void ours.delete(distro.toLowerCase()),

    /** Null if it is ours. A stopped distro is started to see that. */
    async objection(distro: string): Promise<WslFailure | null> {
      const wrongName = nameObjection(distro);
      if (wrongName) return wrongName;
      if (ours.has(distro.toLowerCase())) return null;
      const mark = await hasMark(run, distro, timeoutMs);
      if (!mark.ok) {
        const { reason, message } = mark.failure;
        if (reason === "no-such-distro") return mark.failure;
        return theirs(
          `it cannot be seen whether ${distro} is ours (${message}): if it is, remove it with \`wsl --unregister ${distro}\``,
        );
      }
      if (!mark.value) return theirs(`${distro} has no mark of ours (${MARKER_FILE}): it is somebody else's`);
      ours.add(distro.toLowerCase());
      return null;
    },
  };
}

/** Null if it is a name that a distro of ours may have. */
export const nameObjection = (distro: string): WslFailure | null =>
  isDistroName(distro) && hasOurPrefix(distro) ? null : theirs(`${distro} is no name of a distro of ours`);

export const theirs = (message: string): WslFailure => failed("not-ours", message).failure;
