// Asks one of the system's own programs for what only it knows. Sparsely: each answer costs a process.
import { execFile } from "node:child_process";
import path from "node:path";
import { promisify } from "node:util";

const TIMEOUT_MS = 10_000;
const run = promisify(execFile);

/** What it printed; null where there is no such program, or it fails or hangs. */
export async function printedBy(program: string, args: readonly string[]): Promise<string | null> {
  try {
    const { stdout } = await run(program, args, {
      timeout: TIMEOUT_MS,
      killSignal: "SIGKILL",
      windowsHide: true,
    });
    return stdout;
  } catch {
    return null;
  }
}

/** Of Windows itself, wherever PATH leads. */
export const windowsProgram = (...names: string[]): string =>
  path.win32.join(process.env.SystemRoot ?? "C:\\Windows", "System32", ...names);

export const POWERSHELL = windowsProgram("WindowsPowerShell", "v1.0", "powershell.exe");

/** Arguments that have PowerShell run the script as it stands, whatever is quoted in it. */
export const powershellArguments = (script: string): string[] => [
  "-NoLogo",
  "-NoProfile",
  "-NonInteractive",
  "-EncodedCommand",
  Buffer.from(script, "utf16le").toString("base64"),
];
