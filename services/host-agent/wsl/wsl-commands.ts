// Calls of wsl.exe as outcomes: its own commands, and short commands inside a distro. Exit codes alone say little here,
// so nothing is read from one that something else can say.
import type { Readable } from "node:stream";
import { type InsideCommand, insideArguments } from "./command-line.ts";
import { type Distro, distrosIn } from "./listing.ts";
import { linesOf, textOf } from "./output-text.ts";
import { type CallEnd, callWsl } from "./wsl-call.ts";
import { codeIn, failed, failureIn, type WslOutcome } from "./wsl-error.ts";

export interface InsideRun extends InsideCommand {
  stdin?: Buffer | Readable;
  timeoutMs?: number;
}

/** How the command ended. 1 may also mean that the distro went away: whoever has to know asks for words on stdout. */
export interface InsideEnd {
  exitCode: number;
  stdout: Buffer;
  stderr: string;
}

export interface WslTimes {
  version: number;
  list: number;
  /** Import and export. */
  copy: number;
  start: number;
  stop: number;
  run: number;
}

/** -1. On Linux, where a fake stands for it, a process can say no more than 255. */
const OWN_FAILURE = process.platform === "win32" ? 4_294_967_295 : 255;
/** Printed by WSL's own init when a program cannot be started; it complains of other things as well. */
const INIT_SAYS = /^<3>WSL \(.*\bexecvpe\b/m;

export type WslCommands = ReturnType<typeof wslCommands>;

export function wslCommands(program: string, times: WslTimes) {
  /** What it prints; any exit code but 0 is a failure. */
  async function command(args: string[], timeoutMs: number): Promise<WslOutcome<string>> {
    const end = ended(await callWsl({ program, args, timeoutMs }), timeoutMs);
    if (!end.ok) return end;
    const { exitCode, stdout, stderr } = end.value;
    if (exitCode === 0) return { ok: true, value: textOf(stdout) };
    return { ok: false, failure: failureIn(textOf(stdout), textOf(stderr)) };
  }

  async function list(): Promise<WslOutcome<Distro[]>> {
    const table = await command(["-l", "-v"], times.list);
    if (table.ok) return { ok: true, value: distrosIn(table.value) };
    if (table.failure.code !== null || table.failure.reason !== "unknown") return table;
    // With no distro at all that fails, without a code; so does what a build does not understand.
    const names = await command(["-l", "-q"], times.list);
    if (!names.ok) return names;
    return linesOf(names.value).length === 0 ? { ok: true, value: [] } : table;
  }

  async function run(asked: InsideRun): Promise<WslOutcome<InsideEnd>> {
    const { stdin, timeoutMs = times.run } = asked;
    const args = insideArguments(asked);
    const end = ended(await callWsl({ program, args, timeoutMs, ...(stdin ? { stdin } : {}) }), timeoutMs);
    if (!end.ok) return end;
    const { exitCode, stdout } = end.value;
    const stderr = textOf(end.value.stderr);
    if (exitCode === OWN_FAILURE && (process.platform === "win32" || codeIn(textOf(stdout)) !== null))
      return { ok: false, failure: failureIn(textOf(stdout), stderr) };
    if (exitCode === 1 && INIT_SAYS.test(stderr)) return failed("no-such-program", stderr.trim());
    return { ok: true, value: { exitCode, stdout, stderr } };
  }

  async function start(distro: string): Promise<WslOutcome<null>> {
    const argv = ["/bin/sh", "-c", "echo started"];
    const end = await run({ distro, user: "root", argv, timeoutMs: times.start });
    if (!end.ok) return end;
    const { exitCode, stdout, stderr } = end.value;
    if (stdout.toString().trim() === "started") return { ok: true, value: null };
    return failed("unknown", `${distro} did not start: exit code ${exitCode}, ${stderr.trim()}`);
  }

  return { command, list, run, start };
}

type Ended = Extract<CallEnd, { kind: "ended" }>;

/** It ended by itself, whatever its exit code says. */
function ended(end: CallEnd, timeoutMs: number): WslOutcome<Ended> {
  switch (end.kind) {
    case "ended":
      return { ok: true, value: end };
    case "hung":
      return failed("hung", `wsl.exe did not end within ${timeoutMs} ms, and was killed`);
    case "too-much":
      return failed("too-much-output", "the command printed more than is kept of a short one");
    case "not-started":
      return failed("no-wsl", `wsl.exe does not start: ${end.message}`);
  }
}
