// `mesh host package`: the mesh as one file, for machines that have neither Node nor a checkout.
import { isSea } from "node:sea";
import { Command, Option } from "commander";
import { allowForStop, interruption } from "../interruption.ts";
import { Failure, UsageError } from "../outcome.ts";
import { tell } from "../session.ts";
import { orSay } from "../up/up.ts";

interface Options {
  out: string;
  platform: "win32" | "linux";
  quiet?: boolean;
}

const STOP_MS = 15_000;

export const packageCommand = (): Command =>
  new Command("package")
    .description("make `mesh` one program file that needs nothing beside it, for 64-bit x86 processors")
    .requiredOption("--out <file>", "the program, such as mesh.exe")
    .addOption(
      new Option("--platform <name>", "what it is to run on").choices(["win32", "linux"]).default("win32"),
    )
    .option("--quiet", "no messages on stderr but errors")
    .action((options: Options) => orSay(() => make(options)));

async function make(options: Options): Promise<void> {
  if (isSea()) throw new Failure("a single-file program is made from a checkout, after `npm ci`");
  const { buildSingleFile } = await import("./single-file/build.ts");
  const { formatSize } = await import("../terminal/quantities.ts");
  const { out, platform } = options;
  if (out === "") throw new UsageError("--out: expected a file");
  // So that nothing is left when it is interrupted.
  allowForStop(STOP_MS);
  const { bytes } = await buildSingleFile(out, `${platform}-x64`, {
    onProgress: (text) => tell(options, text),
    signal: interruption,
  });
  process.stdout.write(`${out}: ${formatSize(bytes)}\n`);
}
