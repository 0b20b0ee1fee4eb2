// Kept workspaces of this machine's hosts whose instances are in the golden distro: found and entered through wsl.exe, by
// the guest's own program there. It installs nothing: the host agent's program is the one that knows what it has kept.
import { spawn } from "node:child_process";
import { once } from "node:events";
import type { Environment } from "../../../shared/config/environment.ts";
import { KeptWorkspace } from "../workspace/kept-workspaces.ts";
import { WslProblem } from "./distro-guest.ts";
import {
  DISTRO_PATH,
  GOLDEN_DISTRO,
  GUEST_FOLDER,
  hostFolderIn,
  MARKER,
  MARKER_FILE,
  NODE_PROGRAM,
  workspacesIn,
} from "./distro-layout.ts";
import { findWsl } from "./find-wsl.ts";
import { createWsl } from "./wsl.ts";
import { wslEnvironment } from "./wsl-call.ts";
import { failed } from "./wsl-error.ts";

export interface KeptInDistro {
  about: KeptWorkspace;
  enter(command: string[]): Promise<number | null>;
}

/** The one version of the guest that is there; where there is none, or the distro is not ours, nothing of ours is kept. */
const RUN = `export PATH=${DISTRO_PATH}
grep -qs "^$1" "$2" || exit 0
for program in "$3"/guest-*.mjs; do [ -e "$program" ] || exit 0; node=$4; shift 4; exec "$node" "$program" "$@"; done`;

/** Null where no distro of ours keeps any of it; rejects with a `WslProblem` where nobody can tell. */
export async function findKeptInDistro(
  installations: string[],
  taskId: string,
  environment: Environment,
): Promise<KeptInDistro | null> {
  const program = await findWsl(environment.MESH_WSL_EXE);
  if (!program.ok) return null;
  const wsl = createWsl(program.value);
  for (const installation of installations) {
    const hostFolder = hostFolderIn(installation);
    const inside = (...more: string[]) => ({
      distro: GOLDEN_DISTRO,
      user: "root",
      argv: [
        ...["/bin/sh", "-c", RUN, "sh", MARKER, MARKER_FILE, GUEST_FOLDER, NODE_PROGRAM],
        ...["kept", "--host-folder", hostFolder, "--workspaces", workspacesIn(hostFolder), "--task", taskId],
        ...more,
      ],
    });
    const looked = await wsl.run(inside());
    if (!looked.ok && looked.failure.reason === "no-such-distro") return null;
    if (!looked.ok) throw new WslProblem(looked.failure);
    const { exitCode, stdout, stderr } = looked.value;
    if (exitCode !== 0)
      throw new WslProblem(failed("unknown", `exit code ${exitCode}: ${stderr.trim()}`).failure);
    const said = stdout.toString();
    if (said === "") continue;
    return {
      about: KeptWorkspace.parse(JSON.parse(said)),
      async enter(command) {
        const options = [
          ...(environment.MESH_HOST_SANDBOX ? [] : ["--no-sandbox"]),
          ...environment.MESH_HOST_TOOLS.flatMap((tool) => ["--tool", tool]),
        ];
        const [file = "", ...args] = wsl.commandInside(inside("--enter", ...options, "--", ...command));
        const child = spawn(file, args, { stdio: "inherit", env: wslEnvironment() });
        const [exitCode] = (await once(child, "exit")) as [number | null];
        return exitCode;
      },
    };
  }
  return null;
}
