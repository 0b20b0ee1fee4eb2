// Enters the kept workspace of a failed attempt where it lies: in a sandbox like the attempt's, with the same paths, and
// on a terminal of its own, so that nothing in there can type on the terminal that it is shown on.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { access } from "node:fs/promises";
import path from "node:path";
import { shellWord } from "../../../shared/process/shell-word.ts";
import { HOME_PATH, WORK_PATH } from "../guest/inside.ts";
import { findSandbox } from "../guest/sandbox.ts";
import type { Hidden } from "../guest/visible.ts";
import type { findKept } from "./kept-workspaces.ts";
import { treeIn } from "./tree.ts";

const INTERACTIVE = ["/bin/sh", "-c", "command -v bash > /dev/null && exec bash -i; exec sh -i"];

/**
 * Its exit code, null if it was ended by a signal. `hidden`: as the attempt's sandbox hid it, null if that hid nothing;
 * `command`: empty for a shell.
 */
export async function enterKept(
  { about, trees }: NonNullable<Awaited<ReturnType<typeof findKept>>>,
  command: string[],
  hidden: Hidden | null,
): Promise<number | null> {
  // The tree that the work was done on; a gate's own is beside it.
  const folder = path.join(trees, "work");
  await access(folder);
  const sandbox = findSandbox(trees, hidden);
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
