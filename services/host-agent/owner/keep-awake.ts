// Keeps the machine from going to sleep by itself while work runs, and only then. Who closes the lid or says "sleep" is
// obeyed. A child holds the machine awake until its stdin closes, so a host agent that is killed holds nothing.
import { type ChildProcess, spawn } from "node:child_process";
import type { Logger } from "pino";
import { POWERSHELL, powershellArguments } from "./program.ts";

/** ES_CONTINUOUS and ES_SYSTEM_REQUIRED, for as long as the thread that says it lives. */
const HOLD_ON_WINDOWS = `
  $power = Add-Type -PassThru -Namespace Mesh -Name Power -MemberDefinition '
    [DllImport("kernel32.dll")] public static extern uint SetThreadExecutionState(uint state);'
  $null = $power::SetThreadExecutionState([uint32]2147483649)
  $null = [Console]::In.ReadToEnd()`;

/** Argv of the child; null where nobody knows one. */
function holder(): string[] | null {
  switch (process.platform) {
    case "linux":
      return ["systemd-inhibit", "--what=idle", "--who=agent-mesh", "--why=work runs here", "cat"];
    case "darwin":
      return ["caffeinate", "-i", "cat"];
    case "win32":
      return [POWERSHELL, ...powershellArguments(HOLD_ON_WINDOWS)];
    default:
      return null;
  }
}

const LOOK_MS = 1_000;
/** One that failed is tried again after so long, ms. */
const AGAIN_MS = 600_000;

export function startAwake({ working, log }: { working: () => boolean; log: Logger }): Disposable {
  const command = holder();
  let child: ChildProcess | null = null;
  let notBeforeMs = Number.NEGATIVE_INFINITY;

  function hold([program = "", ...args]: string[]): void {
    const held = spawn(program, args, { stdio: ["pipe", "ignore", "ignore"], windowsHide: true });
    child = held;
    const ended = (why: string) => {
      if (child !== held) return;
      child = null;
      notBeforeMs = performance.now() + AGAIN_MS;
      log.info({ program, why }, "nothing keeps this machine awake while work runs");
    };
    held.once("error", (error) => ended(error.message));
    held.once("exit", (code, signal) => ended(signal ?? `it exited ${code}`));
    held.stdin?.on("error", () => {});
  }

  function release(): void {
    const held = child;
    child = null;
    held?.stdin?.end();
  }

  const timer = setInterval(() => {
    if (!working()) release();
    else if (child === null && command !== null && performance.now() >= notBeforeMs) hold(command);
  }, LOOK_MS);
  return {
    [Symbol.dispose]() {
      clearInterval(timer);
      release();
    },
  };
}
