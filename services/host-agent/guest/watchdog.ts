// The supervisor's shadow, in a process of its own: freezes what runs when the supervisor stands still beyond the
// end of its lease, and ends it when the supervisor has ended. It lets go on only what it froze itself, and only
// once the supervisor has spoken again, which has then looked at its lease first.
import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { findCgroups, freezeAll } from "./cgroup.ts";
import { endAll } from "./former-life.ts";
import { markedWith, signalEach } from "./processes.ts";
import { cgroupTag, markOf, stateArguments } from "./state.ts";

export interface Watchdog {
  /** How long the lease lasts from now on if nobody says more, ms; 0 when nothing may run, and nothing does. */
  tell(remainingMs: number): void;
  /** Resolves when it has ended. */
  release(): Promise<void>;
}

/** Begins one. `onLost`: it has ended by itself, and nobody watches any more. */
export function startWatchdog(options: {
  stateDir: string;
  /** It steps in so much later than the supervisor would have. */
  slackMs: number;
  onLost: () => void;
}): Watchdog {
  const args = [...stateArguments(options.stateDir), "--slack-ms", String(options.slackMs)];
  // A session of its own: a stop sent to the supervisor's group is not for it.
  const child: ChildProcess = spawn(process.execPath, [process.argv[1] ?? "", "watchdog", ...args], {
    stdio: ["pipe", "ignore", "inherit"],
    detached: true,
  });
  let released = false;
  const ended = new Promise<void>((done) => {
    for (const event of ["exit", "error"])
      child.once(event, () => {
        done();
        if (!released) options.onLost();
      });
  });
  child.stdin?.on("error", () => {});
  return {
    tell: (remainingMs) => void child.stdin?.write(`${remainingMs}\n`),
    release() {
      released = true;
      child.stdin?.end();
      return ended;
    },
  };
}

function watch(stateDir: string, slackMs: number): void {
  const cgroups = findCgroups(cgroupTag(stateDir));
  let frozen = false;
  let timer: NodeJS.Timeout | undefined;

  function freeze(): void {
    frozen = true;
    if (!freezeAll(cgroups, true)) signalEach(() => markedWith(markOf(stateDir)), "SIGSTOP");
  }

  const lines = createInterface({ input: process.stdin });
  lines.on("line", (line) => {
    clearTimeout(timer);
    const remainingMs = Number(line);
    if (remainingMs > 0) timer = setTimeout(freeze, remainingMs + slackMs);
    // By signals, the supervisor has stopped each group itself meanwhile, and knows when one may go on.
    if (frozen) freezeAll(cgroups, false);
    frozen = false;
  });
  lines.on("close", () => {
    clearTimeout(timer);
    void endAll(stateDir, cgroups, () => []).finally(() => process.exit(0));
  });
  for (const signal of ["SIGHUP", "SIGINT", "SIGTERM"] as const) process.on(signal, () => {});
}

/** The other end of `startWatchdog`. */
export function runWatchdog(args: string[]): void {
  const { values } = parseArgs({
    args,
    options: {
      "state-dir": { type: "string", default: "/tmp" },
      "slack-ms": { type: "string", default: "500" },
    },
  });
  watch(values["state-dir"], Number(values["slack-ms"]));
}
