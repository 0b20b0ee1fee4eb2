// Tells a process from a later one that was given the same id, by when it started. It must never send a signal.
import { readFile } from "node:fs/promises";
import { execa } from "execa";
import { systemErrorCode } from "./system-error.ts";

/**
 * What distinguishes the living process `pid` from every other that ever had this id on this machine; undefined
 * when there is none or only its zombie. To be compared for equality, and for nothing else.
 */
export async function processIdentity(pid: number): Promise<string | undefined> {
  if (!exists(pid)) return undefined;
  if (process.platform === "linux") return linuxIdentity(pid);
  // Where the system's tool is missing, all we know is that the id is in use, and "unknown" says so.
  if (process.platform === "win32") {
    const script = `(Get-Process -Id ${pid}).StartTime.ToFileTimeUtc()`;
    return (await answerOf("powershell", ["-NoProfile", "-NonInteractive", "-Command", script])) ?? "unknown";
  }
  const answer = await answerOf("ps", ["-o", "stat=,lstart=", "-p", String(pid)]);
  if (answer === undefined) return "unknown";
  const [state = "", ...started] = answer.split(/\s+/);
  return state.startsWith("Z") ? undefined : started.join(" ");
}

function exists(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return systemErrorCode(error) === "EPERM";
  }
}

/** Start times count from the boot, hence the boot's id. proc(5): the fields follow the name in parentheses. */
async function linuxIdentity(pid: number): Promise<string | undefined> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, "utf8");
    const [state, ...fields] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    if (state === "Z" || state === "X") return undefined;
    const boot = await readFile("/proc/sys/kernel/random/boot_id", "utf8");
    return `${boot.trim()} ${fields[18]}`;
  } catch (error) {
    const code = systemErrorCode(error);
    if (code === "ENOENT" || code === "ESRCH") return undefined;
    throw error;
  }
}

async function answerOf(program: string, args: readonly string[]): Promise<string | undefined> {
  const result = await execa(program, args, {
    env: { LC_ALL: "C", TZ: "UTC" },
    stdin: "ignore",
    reject: false,
    timeout: 5_000,
  });
  const answer = result.failed ? "" : result.stdout.trim();
  return answer === "" ? undefined : answer;
}
