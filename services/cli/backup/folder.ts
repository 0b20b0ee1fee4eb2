// A backup on disk: one file for each stream, and a manifest that names them with their sizes and SHA-256. The manifest
// is written last, so that what was broken off is none; one that was cut or changed must never be restored.
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, open, readFile, rm } from "node:fs/promises";
import path from "node:path";
import { z } from "zod";
import { StreamSnapshot } from "../../../shared/bus/snapshot.ts";
import { systemErrorCode } from "../../../shared/process/system-error.ts";
import { Failure, UsageError } from "../outcome.ts";

const COUNT = z.int().nonnegative();
const Manifest = z.object({
  format: z.literal("agent-mesh backup, version 1"),
  at: z.iso.datetime(),
  server: z.string(),
  streams: z.array(
    z.object({
      file: z.string().regex(/^[A-Za-z_]+\.snapshot$/),
      bytes: COUNT,
      sha256: z.string(),
      snapshot: StreamSnapshot,
    }),
  ),
  log: z.object({
    sequence: COUNT,
    facts: COUNT,
    tasks: COUNT,
    unfinished: COUNT,
    succeeded: COUNT,
    failed: COUNT,
    cancelled: COUNT,
    digest: z.string(),
    artifacts: z.object({ kept: COUNT, agedOut: COUNT, missing: z.array(z.string()) }),
  }),
});
export type Manifest = z.infer<typeof Manifest>;
type StreamFile = Manifest["streams"][number];

const MANIFEST = "manifest.json";
const Sealed = z.object({ sha256: z.string(), backup: z.unknown() });

export interface NewBackup {
  /** `fill` is given what writes; its own value is the snapshot's description. */
  add(
    stream: string,
    fill: (write: (chunk: Uint8Array) => Promise<void>) => Promise<StreamSnapshot>,
  ): Promise<StreamFile>;
  seal(manifest: Omit<Manifest, "format">): Promise<void>;
  discard(): Promise<void>;
}

/** Its owner alone may read it: it holds what tasks were given, and what they said. */
export async function createBackup(folder: string): Promise<NewBackup> {
  try {
    await mkdir(folder, { mode: 0o700 });
  } catch (error) {
    const code = systemErrorCode(error);
    if (code === "EEXIST") throw new UsageError(`${folder} is there already: name a new folder`);
    if (code === "ENOENT") throw new UsageError(`${path.dirname(folder)} is not there: make it first`);
    throw error;
  }
  return {
    async add(stream, fill) {
      const file = `${stream}.snapshot`;
      const hash = createHash("sha256");
      let bytes = 0;
      await using handle = await open(path.join(folder, file), "wx", 0o600);
      const snapshot = await fill(async (chunk) => {
        await handle.writeFile(chunk);
        hash.update(chunk);
        bytes += chunk.length;
      });
      await handle.sync();
      return { file, bytes, sha256: hash.digest("hex"), snapshot };
    },
    async seal(manifest) {
      const backup = { format: "agent-mesh backup, version 1", ...manifest };
      await using handle = await open(path.join(folder, MANIFEST), "wx", 0o600);
      await handle.writeFile(`${JSON.stringify({ sha256: sha256Of(JSON.stringify(backup)), backup })}\n`);
      await handle.sync();
    },
    discard: () => rm(folder, { recursive: true, force: true }),
  };
}

/** The manifest of a backup that is whole. Throws in words what is wrong with another one. */
export async function readBackup(folder: string): Promise<Manifest> {
  const manifest = await readManifest(folder);
  for (const { file, bytes, sha256 } of manifest.streams) {
    const hash = createHash("sha256");
    let found = 0;
    try {
      for await (const chunk of contentOfFile(folder, file)) {
        hash.update(chunk);
        found += chunk.length;
      }
    } catch (error) {
      if (systemErrorCode(error) !== "ENOENT") throw error;
      throw new Failure(`${folder} is not whole: ${file} is missing`);
    }
    if (found !== bytes)
      throw new Failure(`${folder} is not whole: ${file} has ${found} bytes, and had ${bytes}`);
    if (hash.digest("hex") !== sha256)
      throw new Failure(`${folder} has been changed: ${file} is not what its manifest says`);
  }
  return manifest;
}

async function readManifest(folder: string): Promise<Manifest> {
  let json: unknown;
  try {
    json = JSON.parse(await readFile(path.join(folder, MANIFEST), "utf8"));
  } catch (error) {
    const code = systemErrorCode(error);
    if (code === "ENOENT" || code === "ENOTDIR")
      throw new UsageError(`${folder} is no backup, or one that was broken off: it has no ${MANIFEST}`);
    if (!(error instanceof SyntaxError)) throw error;
  }
  const sealed = Sealed.safeParse(json);
  if (!sealed.success) throw new Failure(`${folder}: ${MANIFEST} is not whole`);
  if (sha256Of(JSON.stringify(sealed.data.backup)) !== sealed.data.sha256)
    throw new Failure(`${folder} has been changed: ${MANIFEST} does not match its own SHA-256`);
  const manifest = Manifest.safeParse(sealed.data.backup);
  if (!manifest.success) throw new Failure(`${folder} is a backup of another version of agent-mesh`);
  return manifest.data;
}

export const contentOfFile = (folder: string, file: string): AsyncIterable<Buffer> =>
  createReadStream(path.join(folder, file), { highWaterMark: 256 * 1024 });

const sha256Of = (text: string): string => createHash("sha256").update(text).digest("hex");
