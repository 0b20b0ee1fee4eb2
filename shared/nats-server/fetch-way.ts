// What every way of fetching a nats-server has in common: the contract, and how archives become a program. A way
// must never put a program anywhere but into the folder it was given, nor unpack what it has not verified.
import { createHash } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join, posix } from "node:path";
import { programName } from "./probe.ts";
import { readZipMember } from "./zip.ts";

export interface FetchTask {
  /** An empty folder of this attempt alone; it is removed afterwards. */
  readonly folder: string;
  readonly env: NodeJS.ProcessEnv;
  readonly onProgress: (text: string) => void;
  readonly signal?: AbortSignal | undefined;
}

export interface FetchWay {
  readonly origin: "release" | "pypi" | "go";
  /** As it reads in "Tried …". */
  readonly title: string;
  readonly version: string;
  /** Resolves with the program's path. Rejects with an Error whose message tells a person why it failed. */
  fetch(task: FetchTask): Promise<string>;
}

/** Throws unless the bytes are the expected ones, saying both sums. */
export function verifySha256(bytes: Buffer, expected: string, name: string): void {
  const actual = createHash("sha256").update(bytes).digest("hex");
  if (actual === expected) return;
  throw new Error(`${name} was refused: its SHA-256 is ${actual}, and ${expected} was expected`);
}

/** Writes nats-server out of a verified zip into the folder, executable, and returns its path. */
export async function unpackProgram(zip: Buffer, folder: string): Promise<string> {
  const content = readZipMember(zip, (name) => posix.basename(name) === programName);
  if (content === undefined) throw new Error(`the archive holds no ${programName}`);
  const program = join(folder, programName);
  await writeFile(program, content, { mode: 0o755 });
  return program;
}

/** The first of the signals to abort, or a deadline: every wait on somebody else's machine has one. */
export function within(timeoutMs: number, signal: AbortSignal | undefined): AbortSignal {
  const deadline = AbortSignal.timeout(timeoutMs);
  return signal === undefined ? deadline : AbortSignal.any([signal, deadline]);
}
