// Starts a program that ends when we end, however we end, and not when somebody presses Ctrl-C. It must never leave
// a process behind: neither the program nor the shell that watches over it.
import { type ChildProcess, spawn } from "node:child_process";
import { Socket } from "node:net";

export interface LeashedProcess {
  /** `child.pid` is the program's own: the shell that starts it becomes it. */
  readonly child: ChildProcess;
  /** To be called when the program has ended, so that its watcher goes too without sending a signal. */
  readonly letGo: () => void;
}

// The watcher reads from a pipe whose other end is held by us alone. A line means that all is over; the end of the
// pipe means that we are gone, and then it ends the program: first kindly, then by force. $$ is the shell's id
// even in the sub-shell, and after `exec` the program's.
const script = `(
  read -r _ <&3 && exit
  kill -TERM $$
  for _ in 1 2 3 4 5; do
    sleep 1
    kill -0 $$ || exit
  done
  kill -KILL $$
) >/dev/null 2>&1 &
exec "$@" 3<&-`;

/** Standard output and error go to the open file `logFd`. */
export function spawnLeashed(
  program: string,
  args: readonly string[],
  logFd: number,
  env: NodeJS.ProcessEnv = process.env,
): LeashedProcess {
  if (process.platform === "win32") {
    // Node's job object is the leash there, which a detached process would escape. Its own hidden console keeps
    // our Ctrl-C from it.
    const child = spawn(program, args, { env, stdio: ["ignore", logFd, logFd], windowsHide: true });
    return { child, letGo: () => {} };
  }
  const child = spawn("/bin/sh", ["-c", script, "leash", program, ...args], {
    env,
    stdio: ["ignore", logFd, logFd, "pipe"],
    detached: true,
  });
  const [, , , leash] = child.stdio;
  if (!(leash instanceof Socket)) return { child, letGo: () => {} };
  leash.on("error", () => {
    // The watcher has gone before us: nobody is left to be told.
  });
  return {
    child,
    letGo: () => {
      leash.end("\n", () => leash.destroy());
    },
  };
}
