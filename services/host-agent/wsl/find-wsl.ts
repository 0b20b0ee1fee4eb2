// Which wsl.exe is called: the real one by its full path, never those in System32 and WindowsApps, which only start it
// in a process of its own and fail in a service's session.
import { access } from "node:fs/promises";
import path from "node:path";
import { failed, type WslOutcome } from "./wsl-error.ts";

const REAL = "C:\\Program Files\\WSL\\wsl.exe";
const FORWARDERS = ["\\windows\\system32\\wsl.exe", "\\windows\\sysnative\\wsl.exe", "\\windowsapps\\"];

/** Path of the program; `named` is the owner's (MESH_WSL_EXE). */
export async function findWsl(named: string | undefined): Promise<WslOutcome<string>> {
  if (named === undefined && process.platform !== "win32")
    return failed("no-wsl", "this is no Windows machine: WSL instances need one");
  const program = named ?? REAL;
  if (isForwarder(program))
    return failed("no-wsl", `${program} only forwards to the real program: set MESH_WSL_EXE to ${REAL}`);
  if (!path.isAbsolute(program) && !path.win32.isAbsolute(program))
    return failed("no-wsl", `MESH_WSL_EXE is ${program}; expected a full path`);
  try {
    await access(program);
    return { ok: true, value: program };
  } catch {
    return failed(
      "no-wsl",
      named === undefined
        ? `there is no ${program}: install WSL with \`wsl --install --no-distribution\`, or \`wsl --update\` an old one`
        : `MESH_WSL_EXE names ${program}, which is not there`,
    );
  }
}

const isForwarder = (program: string): boolean =>
  FORWARDERS.some((part) => path.win32.normalize(program).toLowerCase().includes(part));
