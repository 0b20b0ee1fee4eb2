// A shell in the kept workspace of a failed attempt, on the host where it is: in a sandbox like the attempt's, with the
// same paths, and on a terminal of its own, so that nothing in there can type on the terminal that it is shown on.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { access, readdir } from "node:fs/promises";
import path from "node:path";
import type { Environment } from "../../shared/config/environment.ts";
import { shellWord } from "../../shared/process/shell-word.ts";
import { HOME_PATH, WORK_PATH } from "./guest/inside.ts";
import { findSandbox } from "./guest/sandbox.ts";
import { findKept, type KeptWorkspace } from "./workspace/kept-workspaces.ts";
import { treeIn } from "./workspace/tree.ts";

const INTERACTIVE = ["/bin/sh", "-c", "command -v bash > /dev/null && exec bash -i; exec sh -i"];

export interface KeptShell {
  about: KeptWorkspace;
  /** Resolves with its exit code, null if it was ended by a signal. `command`: in place of an interactive shell. */
  enter(command: string[]): Promise<number | null>;
}

/** Null if none of the hosts with data below `dataDir` keeps anything of the task. */
export async function findKeptShell(
  dataDir: string,
  taskId: string,
  environment: Environment,
): Promise<KeptShell | null> {
  const hosts = await readdir(path.join(dataDir, "hosts")).catch(() => []);
  const places = [
    dataDir,
    path.join(dataDir, "host"),
    ...hosts.map((host) => path.join(dataDir, "hosts", host)),
  ];
  for (const place of places) {
    const kept = await findKept(keptFolderIn(place), taskId);
    if (kept !== null)
      return { about: kept.about, enter: (command) => enter(place, kept, command, environment) };
  }
  return null;
}

export const keptFolderIn = (dataDir: string): string => path.join(dataDir, "kept");

async function enter(
  dataDir: string,
  { about, trees }: { about: KeptWorkspace; trees: string },
  command: string[],
  environment: Environment,
): Promise<number | null> {
  // The tree that the work was done on; a gate's own is beside it.
  const folder = path.join(trees, "work");
  await access(folder);
  const sandbox = findSandbox(
    trees,
    environment.MESH_HOST_SANDBOX ? { dataDir, tools: environment.MESH_HOST_TOOLS } : null,
  );
  const apart = sandbox.isolation !== "process-group";
  const { workTree, home, temporary } = treeIn(folder);
  const mounts = { workTree, home, temporary };
  const cwd = apart ? WORK_PATH : mounts.workTree;
  const isTerminal = command.length === 0;
  const wrapped = sandbox.wrap({
    attempt: about.attemptKey,
    argv: isTerminal ? INTERACTIVE : command,
    cwd,
    mounts,
    procsFiles: [],
  });
  const [program = "", ...args] = isTerminal
    ? ["script", "--quiet", "--return", "--command", wrapped.map(shellWord).join(" "), "/dev/null"]
    : wrapped;
  const { PATH = "/usr/local/bin:/usr/bin:/bin", TERM = "dumb", LANG = "C.UTF-8" } = process.env;
  const child = spawn(program, args, {
    stdio: "inherit",
    cwd: apart ? "/" : cwd,
    env: {
      PATH,
      TERM,
      LANG,
      SHELL: "/bin/sh",
      HOME: apart ? HOME_PATH : mounts.home,
      MESH_TASK_ID: about.taskId,
      MESH_ATTEMPT: String(about.attempt),
    },
  });
  const [exitCode] = (await once(child, "exit")) as [number | null];
  return exitCode;
}
