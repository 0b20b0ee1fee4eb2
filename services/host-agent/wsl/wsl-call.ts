// One call of wsl.exe, from its start to its end, which comes in any case: whatever hangs is killed when its time is
// over. What it prints is kept up to a limit. It must never be given a shell, nor a variable that crosses into Linux.
import { type ChildProcess, spawn } from "node:child_process";
import { Readable } from "node:stream";

export interface Call {
  program: string;
  args: string[];
  stdin?: Buffer | Readable;
  timeoutMs: number;
}

export type CallEnd =
  | { kind: "ended"; exitCode: number; stdout: Buffer; stderr: Buffer }
  | { kind: "hung"; stdout: Buffer }
  | { kind: "too-much" }
  | { kind: "not-started"; message: string };

const OUTPUT_MAX_BYTES = 16 * 1_048_576;
/** Pipes may be held open by what it has left; its own words are there by then, ms. */
const DRAIN_MS = 1_000;

/** Of this process: all of it stays on Windows, as nothing is listed in WSLENV, whatever the owner lists there. */
export function wslEnvironment(env: NodeJS.ProcessEnv = process.env): NodeJS.ProcessEnv {
  const kept = Object.entries(env).filter(([name]) => name.toUpperCase() !== "WSLENV");
  return { ...Object.fromEntries(kept), WSL_UTF8: "1" };
}

/** What hangs when this process ends would go on for ever where nothing ends it along, as Windows does. */
const underWay = new Set<ChildProcess>();
process.once("exit", () => {
  for (const child of underWay) child.kill("SIGKILL");
});

/** Never rejects. */
export function callWsl({ program, args, stdin, timeoutMs }: Call): Promise<CallEnd> {
  const { promise, resolve } = Promise.withResolvers<CallEnd>();
  const child = spawn(program, args, {
    stdio: ["pipe", "pipe", "pipe"],
    // A console of its own: Ctrl-C of the service is not for it.
    windowsHide: true,
    env: wslEnvironment(),
  });
  underWay.add(child);
  child.once("close", () => underWay.delete(child));
  const kept = { stdout: [] as Buffer[], stderr: [] as Buffer[] };
  let bytes = 0;
  let exitCode: number | null = null;

  const text = (stream: "stdout" | "stderr") => Buffer.concat(kept[stream]);
  function finish(end: CallEnd): void {
    clearTimeout(timer);
    resolve(end);
    for (const pipe of [child.stdin, child.stdout, child.stderr]) pipe.destroy();
  }
  /** It may not even hear that: nobody waits for it any more. */
  function give(end: CallEnd): void {
    child.kill("SIGKILL");
    child.unref();
    finish(end);
  }
  const timer = setTimeout(() => give({ kind: "hung", stdout: text("stdout") }), timeoutMs);

  child.once("error", (error) => {
    if (child.pid === undefined) finish({ kind: "not-started", message: error.message });
  });
  for (const stream of ["stdout", "stderr"] as const)
    child[stream]
      .on("error", () => {})
      .on("data", (chunk: Buffer) => {
        bytes += chunk.length;
        kept[stream].push(chunk);
        if (bytes > OUTPUT_MAX_BYTES) give({ kind: "too-much" });
      });
  const ended = () =>
    finish({ kind: "ended", exitCode: exitCode ?? 1, stdout: text("stdout"), stderr: text("stderr") });
  let draining: NodeJS.Timeout | undefined;
  child.once("exit", (code) => {
    exitCode = code;
    clearTimeout(timer);
    draining = setTimeout(ended, DRAIN_MS);
  });
  child.once("close", () => {
    clearTimeout(draining);
    if (child.pid !== undefined) ended();
  });
  // It always gets an end: some builds linger on an open one.
  child.stdin.on("error", () => {});
  if (stdin instanceof Readable) stdin.pipe(child.stdin);
  else child.stdin.end(stdin);
  return promise;
}
