// `mesh artifacts ID`: what a task's latest ended attempt left behind, and with --download the files themselves. A file
// is there under its name only once its size and SHA-256 are what the manifest says.
import { createHash, randomBytes } from "node:crypto";
import { lstat, open, rename, rm } from "node:fs/promises";
import path from "node:path";
import { Command } from "commander";
import type { MeshClient } from "../../../shared/client/mesh-client.ts";
import type { ArtifactEntry } from "../../../shared/contracts/attempt-result.ts";
import { makeFolder } from "../../../shared/process/make-folder.ts";
import { systemErrorCode } from "../../../shared/process/system-error.ts";
import { Failure, messageOf, refused, UsageError, valueOf } from "../outcome.ts";
import { type CommonOptions, tell, withCommonFlags, withMesh } from "../session.ts";

interface Options extends CommonOptions {
  download?: string;
}

export const artifactsCommand = (): Command =>
  withCommonFlags(
    new Command("artifacts")
      .description("list or download what a task has left: patch, logs, transcript, findings, result")
      .argument("<id>", "the task's id")
      .argument("[names...]", "only these")
      .option("--download <folder>", "write them there, each checked against its SHA-256"),
  ).action((taskId: string, names: string[], options: Options) =>
    withMesh(options, async (mesh, interruption) => {
      const task = valueOf(await mesh.get(taskId));
      const entries = chosen(taskId, task.result?.artifacts ?? [], names);
      if (options.download !== undefined)
        await downloadAll(mesh, taskId, entries, options.download, interruption);
      await print(entries, options);
    }),
  );

function chosen(taskId: string, entries: ArtifactEntry[], names: string[]): ArtifactEntry[] {
  const unknown = names.find((name) => !entries.some((entry) => entry.name === name));
  if (unknown === undefined)
    return names.length === 0 ? entries : entries.filter(({ name }) => names.includes(name));
  const known = entries.map(({ name }) => name).join(", ") || "none yet";
  throw new Failure(`task ${taskId} has no artifact "${unknown}"; there are: ${known}`);
}

async function print(entries: ArtifactEntry[], options: Options): Promise<void> {
  if (options.json) {
    const { jsonLine } = await import("../terminal/plain-text.ts");
    return void process.stdout.write(jsonLine(entries));
  }
  const { table } = await import("../terminal/table.ts");
  const { formatSize } = await import("../terminal/quantities.ts");
  if (entries.length === 0) return tell(options, "No attempt of it has ended and left anything.");
  const rows = entries.map(({ name, size, sha256 }) => [name, formatSize(size), sha256]);
  process.stdout.write(table(["NAME", "SIZE", "SHA-256"], rows));
}

async function downloadAll(
  mesh: MeshClient,
  taskId: string,
  entries: ArtifactEntry[],
  folder: string,
  signal: AbortSignal,
): Promise<void> {
  try {
    makeFolder(path.resolve(folder));
  } catch (error) {
    throw new UsageError(`--download: ${messageOf(error)}`);
  }
  const files = entries.map((entry) => ({ entry, file: path.join(folder, fileName(entry.name)) }));
  for (const { file } of files)
    if (await isThere(file)) throw new Failure(`${file} is there already: name another folder`);
  for (const { entry, file } of files) await download(mesh, taskId, entry, file, signal);
}

/** A host chose the name, by the letters that are allowed; to Windows some of those are devices. */
const fileName = (name: string): string =>
  /^(con|prn|aux|nul|com\d|lpt\d)$/.test(name) ? `artifact-${name}` : name;

const isThere = (file: string): Promise<boolean> =>
  lstat(file).then(
    () => true,
    () => false,
  );

async function download(
  mesh: MeshClient,
  taskId: string,
  entry: ArtifactEntry,
  file: string,
  signal: AbortSignal,
): Promise<void> {
  const { MeshError } = await import("../../../shared/client/mesh-client.ts");
  const bytes = valueOf(await mesh.artifact(taskId, entry.name));
  const partial = `${file}.${randomBytes(4).toString("hex")}.part`;
  try {
    const hash = createHash("sha256");
    let size = 0;
    {
      await using out = await open(partial, "wx");
      for await (const piece of bytes) {
        signal.throwIfAborted();
        size += piece.length;
        // A gateway that gives more than it promised fills no disk.
        if (size > entry.size) break;
        hash.update(piece);
        await out.writeFile(piece);
      }
    }
    if (size !== entry.size || hash.digest("hex") !== entry.sha256)
      throw new Failure(`artifact ${entry.name} is not what its manifest says, and was not kept`);
    await rename(partial, file);
  } catch (error) {
    await rm(partial, { force: true });
    if (error instanceof MeshError) throw refused(error);
    // A disk that is full, a folder that may not be written.
    throw systemErrorCode(error) === null ? error : new Failure(messageOf(error));
  }
}
