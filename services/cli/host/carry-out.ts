// Carries out the steps of a plan on this machine, in order, and stops at the first that fails. It must never show what a
// step writes or hands over.
import { chmod, copyFile, mkdir, rename, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { execa } from "execa";
import { systemErrorCode } from "../../../shared/process/system-error.ts";
import { Failure, messageOf } from "../outcome.ts";
import type { Command, Machine, ServiceManager, ServiceState, Step } from "./plan.ts";

/** A service manager that does not answer for so long has hung, ms. It may wait for the agent to end. */
const COMMAND_MS = 120_000;
const WORDS = 1_000;

export interface Carrier {
  /** The service was there before. */
  upgrade: boolean;
  /** The host's work is waited for; and it takes work again. */
  empty(): Promise<void>;
  fill(): Promise<void>;
  say(words: string): void;
}

/** Throws a `Failure` that names the step. */
export async function carryOut(steps: Step[], carrier: Carrier): Promise<void> {
  for (const step of steps) {
    if (step.when !== undefined && (step.when === "upgrade") !== carrier.upgrade) continue;
    if (step.why !== "") carrier.say(step.why);
    try {
      await perform(step, carrier);
    } catch (error) {
      if (systemErrorCode(error) === undefined) throw error;
      throw new Failure(`${nameOf(step)}: ${messageOf(error)}`);
    }
  }
}

async function perform(step: Step, carrier: Carrier): Promise<void> {
  switch (step.do) {
    case "empty":
      return carrier.empty();
    case "fill":
      return carrier.fill();
    case "folder":
      return void (await mkdir(step.path, { recursive: true }));
    case "copy":
      // A service that is installed anew may copy itself.
      if (path.resolve(step.from) === path.resolve(step.to)) return;
      return replace(step.to, step.mode, (file) => copyFile(step.from, file));
    case "write":
      return replace(step.path, step.mode, (file) => writeFile(file, step.text, { mode: step.mode }));
    case "remove":
      return rm(step.path, { force: true });
    case "run": {
      const { ok, stderr, how } = await ask(step);
      if (!ok) throw new Failure(`${nameOf(step)} ${how}${stderr === "" ? "" : `: ${stderr}`}`);
    }
  }
}

/** Throws a `Failure` where the manager itself is not there. */
export async function stateOf(manager: ServiceManager, machine: Machine): Promise<ServiceState> {
  const question = manager.ask(machine);
  const { ok, stdout, stderr, how } = await ask(question);
  if (ok) return manager.read(stdout);
  if (!manager.answersAlways) return manager.read("");
  throw new Failure(`the service manager does not answer: ${question.argv[0]} ${how}: ${stderr}`);
}

/** The file is whole, or as it was before: a program that runs cannot be written into, and a crash leaves no half. */
async function replace(file: string, mode: number, write: (file: string) => Promise<void>): Promise<void> {
  const fresh = `${file}.new`;
  await rm(fresh, { force: true });
  await write(fresh);
  await chmod(fresh, mode);
  await rename(fresh, file);
}

/** What a command of the machine says. */
async function ask({
  argv: [program = "", ...args],
  input,
}: Command): Promise<{ ok: boolean; stdout: string; stderr: string; how: string }> {
  const { stdout, stderr, failed, exitCode, code, timedOut } = await execa(program, args, {
    ...(input === undefined ? { stdin: "ignore" as const } : { input }),
    reject: false,
    timeout: COMMAND_MS,
  });
  const how = timedOut
    ? `did not end within ${COMMAND_MS / 1_000} s`
    : exitCode === undefined
      ? `cannot be run (${code ?? "ended by a signal"})`
      : `exited ${exitCode}`;
  return { ok: !failed, stdout: stdout ?? "", stderr: (stderr ?? "").trim().slice(-WORDS), how };
}

function nameOf(step: Step): string {
  if (step.do === "run") return step.argv.slice(0, 3).join(" ");
  if (step.do === "copy") return `copying ${step.from} to ${step.to}`;
  return "path" in step ? `${step.do} ${step.path}` : step.do;
}
