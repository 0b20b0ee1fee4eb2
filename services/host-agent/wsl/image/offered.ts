// An image that is left for the host agent to register when it starts: distros belong to an account, and the account of
// a service is one that nobody logs on with.
import { copyFile, mkdir, readdir, rename, rm } from "node:fs/promises";
import path from "node:path";
import type { Logger } from "pino";
import { findWsl } from "../find-wsl.ts";
import { createWsl } from "../wsl.ts";
import type { WslReason } from "../wsl-error.ts";
import { distrosIn, importImage } from "./import.ts";

const OFFERED = /^offered\.tar(\.gz|\.xz)?$/;
/** It would fail again in the next life: it is not tried there. */
const FINAL: WslReason[] = ["corrupt", "not-ours"];

/** `file` ends in `.tar`, `.tar.gz` or `.tar.xz`. It takes the place of one that was offered before. */
export async function offerImage(dataDir: string, file: string): Promise<void> {
  const folder = distrosIn(dataDir);
  await mkdir(folder, { recursive: true });
  const draft = path.join(folder, "new-offered");
  try {
    await copyFile(file, draft);
    for (const name of await offeredIn(folder)) await rm(path.join(folder, name));
    await rename(draft, path.join(folder, `offered${/\.tar(\.gz|\.xz)?$/.exec(file)?.[0] ?? ".tar"}`));
  } finally {
    await rm(draft, { force: true });
  }
}

/** Registers what is offered, in place of the golden distro that is there. Takes minutes; nothing may run in it. */
export async function takeOfferedImage(
  dataDir: string,
  wslProgram: string | undefined,
  log: Logger,
): Promise<void> {
  const distros = distrosIn(dataDir);
  const [name] = await offeredIn(distros);
  if (name === undefined) return;
  const file = path.join(distros, name);
  log.info({ file }, "registering the golden distro from the image that was left for it: this takes minutes");
  const program = await findWsl(wslProgram);
  const done = program.ok
    ? await importImage(createWsl(program.value), { file, distros, replace: true })
    : program;
  if (done.ok) log.info({ holds: done.value }, "the golden distro is registered");
  else log.error(done.failure, "the golden distro cannot be registered");
  if (done.ok || FINAL.includes(done.failure.reason)) await rm(file);
}

async function offeredIn(folder: string): Promise<string[]> {
  const names = await readdir(folder).catch(() => []);
  return names.filter((name) => OFFERED.test(name));
}
