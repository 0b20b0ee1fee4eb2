// Makes the single-file program of this checkout: its code as one module, with what else it starts or carries as assets,
// put into a Node. It must never leave half a program under the name that was asked for.
import { mkdtemp, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import path from "node:path";
import { execa } from "execa";
import { TaskType } from "../../../../shared/contracts/task-type.ts";
import { makeFolder } from "../../../../shared/process/make-folder.ts";
import { templateOf } from "../../../host-agent/prompt/prompt.ts";
import { bundleGuest, GUEST_ASSET } from "../../../host-agent/wsl/guest-bundle.ts";
import { Failure, messageOf, UsageError } from "../../outcome.ts";
import { nodeFor, TARGETS, type Target, type Watched } from "./node-program.ts";
import { removeSignature, resourceOf } from "./portable-executable.ts";

const ROOT = path.resolve(import.meta.dirname, "../../../..");
const ENTRY = "services/cli/host/single-file/entry.ts";
/** Code of threads and for instances, which a program within one file cannot load from a file. */
const APART = ["services/simulator/run-thread.ts", "services/host-agent/runner/agentapi/relay.ts"];
const TEMPLATES = TaskType.options.map(templateOf);
const BUILD_MS = 120_000;

export async function buildSingleFile(
  out: string,
  target: Target,
  { onProgress, signal }: Watched,
): Promise<{ bytes: number }> {
  const here = TARGETS.find((one) => one === `${process.platform}-${process.arch}`);
  if (here === undefined)
    throw new Failure(
      `expected to be run on ${TARGETS.join(" or ")}; this is ${process.platform}-${process.arch}`,
    );
  const folder = await workFolder(out);
  try {
    const watched = { onProgress, signal };
    const [node, builder] = [await nodeFor(target, watched), await nodeFor(here, watched)];
    onProgress("bundling");
    const place = (name: string) => path.join(folder, path.basename(name).replace(/\.ts$/, ".mjs"));
    for (const file of [ENTRY, ...APART]) await writeFile(place(file), await bundle(file));
    await writeFile(place(GUEST_ASSET), (await bundleGuest()).bytes);
    const program = path.join(folder, "program");
    const configuration = {
      main: place(ENTRY),
      mainFormat: "module",
      executable: node,
      output: program,
      assets: {
        ...Object.fromEntries([...APART, GUEST_ASSET].map((name) => [name, place(name)])),
        ...Object.fromEntries(TEMPLATES.map((file) => [file, path.join(ROOT, file)])),
      },
      disableExperimentalSEAWarning: true,
      // Neither can be made for another platform than the builder's.
      useCodeCache: false,
      useSnapshot: false,
    };
    const settings = path.join(folder, "sea.json");
    await writeFile(settings, JSON.stringify(configuration));
    onProgress(`making ${out}`);
    const built = await execa(builder, ["--build-sea", settings], {
      reject: false,
      timeout: BUILD_MS,
      cancelSignal: signal,
      all: true,
    });
    signal.throwIfAborted();
    if (built.failed) throw new Failure(`Node made no program: ${built.all.trim().split("\n").at(-1)}`);
    const bytes = await readFile(program);
    const objection = await objectionTo(bytes, target, { program, code: await readFile(place(ENTRY)) });
    if (objection !== null) throw new Failure(`what was made is no good: ${objection}`);
    if (target === "win32-x64") {
      removeSignature(bytes);
      await writeFile(program, bytes);
    }
    await rename(program, out);
    return { bytes: bytes.length };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** On the disk of the outcome, so that it can be moved to its place whole; that this cannot be is known before the work. */
async function workFolder(out: string): Promise<string> {
  const there = await stat(out).catch(() => null);
  if (there?.isDirectory() || /[\\/]$/.test(out))
    throw new UsageError(`--out: ${out} is a folder; expected a file, such as mesh.exe`);
  const parent = path.dirname(path.resolve(out));
  try {
    makeFolder(parent);
    return await mkdtemp(path.join(parent, ".mesh-package-"));
  } catch (error) {
    throw new Failure(`--out: nothing can be written in ${parent}: ${messageOf(error)}`);
  }
}

/** One module without imports but Node's own. What is asked whether it is the program that was started is not. */
async function bundle(file: string): Promise<string> {
  const { build } = await import("rolldown");
  const { output } = await build({
    input: path.join(ROOT, file),
    platform: "node",
    external: ["rolldown"],
    transform: { define: { "import.meta.main": "false" } },
    write: false,
    output: { format: "esm", codeSplitting: false },
  });
  return output[0].code;
}

/** A program for another platform cannot be tried here, but looked into. */
async function objectionTo(
  exe: Buffer,
  target: Target,
  { program, code }: { program: string; code: Buffer },
): Promise<string | null> {
  if (target === `${process.platform}-${process.arch}`) {
    const { exitCode, stdout, stderr } = await execa(program, ["--version"], { reject: false });
    return exitCode === 0 && /^\d+\.\d+\.\d+$/.test(stdout) ? null : `it says ${stderr || stdout}`;
  }
  const blob = resourceOf(exe, "NODE_SEA_BLOB");
  if ("objection" in blob) return blob.objection;
  if (!blob.bytes.includes(code)) return "its code is not in it";
  return exe.includes(`${FUSE}:1`) ? null : "it would start as plain Node";
}

/** Node looks at what follows it to know whether there is a program within; so it may not stand in this code as it is. */
const FUSE = ["NODE_SEA_FUSE", "fce680ab2cc467b6e072b8b5df1996b2"].join("_");
