// An image is made in a distro of its own, which is there for as long as that takes: the way on Windows.
import path from "node:path";
import { removeDistro } from "../copied-distro.ts";
import type { Wsl } from "../wsl.ts";
import { failed, type WslOutcome } from "../wsl-error.ts";
import { type ImageRoot, inputOf, lastOf, STEP_MS } from "./root.ts";

const BUILD_DISTRO = "agent-mesh-build";

/** `base` is the tarball of a root file system. */
export async function distroRoot(wsl: Wsl, distros: string, base: string): Promise<WslOutcome<ImageRoot>> {
  const distro = { distro: BUILD_DISTRO, folder: path.join(distros, BUILD_DISTRO) };
  // One that a build before this has left.
  const removed = await removeDistro(wsl, distro);
  if (!removed.ok) return removed;
  const made = await wsl.importTar({ ...distro, file: base });
  if (!made.ok) return made;
  return {
    ok: true,
    value: {
      async run({ name, script, args, stdin }) {
        const ended = await wsl.run({
          distro: BUILD_DISTRO,
          user: "root",
          argv: ["/bin/sh", "-c", script, "sh", ...args],
          stdin: inputOf(stdin),
          timeoutMs: STEP_MS,
        });
        if (!ended.ok) return ended;
        const { exitCode, stdout, stderr } = ended.value;
        if (exitCode !== 0) return failed("unknown", `${name}: exit code ${exitCode}, ${lastOf(stderr)}`);
        return { ok: true, value: stdout.toString() };
      },
      pack: (file) => wsl.exportTo({ distro: BUILD_DISTRO, file }),
      async remove() {
        await removeDistro(wsl, distro);
      },
    },
  };
}
