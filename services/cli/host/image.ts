// `mesh host image …`: makes the image of the distro in which a Windows machine runs instances, and registers it for
// this account. It must never touch a distro that is not ours, nor leave anything of what did not work.
import { access, mkdir, rm } from "node:fs/promises";
import path from "node:path";
import { Command } from "commander";
import type { Wsl } from "../../host-agent/wsl/wsl.ts";
import type { WslOutcome } from "../../host-agent/wsl/wsl-error.ts";
import { allowForStop, interruption } from "../interruption.ts";
import { Failure, UsageError } from "../outcome.ts";
import { collect } from "../repeatable.ts";
import { withSettings } from "./settings-file.ts";

const CLEAN_UP_MS = 60_000;
const progress = (text: string): void => void process.stderr.write(`${text}\n`);

export function imageCommand(): Command {
  const image = new Command("image").description("the image of the distro that runs instances under WSL2");
  image
    .command("build")
    .description("make it, on Linux as root, or on Windows out of a base")
    .requiredOption("--out <file>", "the tarball to write: .tar, .tar.gz or .tar.xz")
    .option(
      "--base <file>",
      "a root file system of Debian or Ubuntu to begin with; on Linux one is made if none is given",
    )
    .option(
      "--agent <name>",
      "bring a coding agent along: claude-code or codex; may be repeated",
      collect,
      [],
    )
    .option("--package <name>", "one of Debian's packages besides; may be repeated", collect, [])
    .action(build);
  image
    .command("import")
    .description("register the golden distro from an image, for this account")
    .argument("<file>", "what `mesh host image build` has written")
    .option("--replace", "remove the one that is there first; the host agent has to be stopped")
    .option(
      "--for-agent",
      "leave it to the host agent, which registers it for its own account when it starts next",
    )
    .option(
      "--environment <file>",
      "with --for-agent: settings of the service (`mesh host status` names them)",
    )
    .action(importImage);
  return image;
}

interface BuildOptions {
  out: string;
  base?: string;
  agent: string[];
  package: string[];
}

async function build(options: BuildOptions): Promise<void> {
  const { AGENT_NAMES, fetchParts } = await import("../../host-agent/wsl/image/parts.ts");
  const { imageRecipe, PACKAGES } = await import("../../host-agent/wsl/image/recipe.ts");
  const { buildImage } = await import("../../host-agent/wsl/image/build.ts");
  const { bundleGuest } = await import("../../host-agent/wsl/guest-bundle.ts");
  const out = path.resolve(options.out);
  if (!/\.tar(\.gz|\.xz)?$/.test(out))
    throw new UsageError(`--out ${options.out}: expected .tar, .tar.gz or .tar.xz`);
  const unknown = options.agent.find((name) => !AGENT_NAMES.includes(name));
  if (unknown !== undefined)
    throw new UsageError(`--agent ${unknown}: expected one of ${AGENT_NAMES.join(", ")}`);
  const odd = options.package.find((name) => !/^[a-z0-9][a-z0-9+.-]+$/.test(name));
  if (odd !== undefined)
    throw new UsageError(`--package ${odd}: expected the name of one of Debian's packages`);
  await thereOrUsage("--base", options.base);
  const watched = { signal: interruption, onProgress: progress };
  allowForStop(CLEAN_UP_MS);
  await using folder = await workFolder();
  const parts = orFail(await fetchParts(path.join(folder.path, "parts"), options.agent, watched));
  const root = orFail(await rootFor(path.join(folder.path, "root"), options.base));
  const steps = imageRecipe({
    packages: [...PACKAGES, ...options.package],
    parts,
    guest: await bundleGuest(),
  });
  const said = orFail(await buildImage(root, steps, out, watched));
  process.stdout.write(`${said}\n`);
  progress(`${out} is made: \`mesh host image import\` takes it on the Windows machine`);
}

/** One for all builds, so that what a killed one has left goes with the next. */
async function workFolder(): Promise<AsyncDisposable & { path: string }> {
  const { defaultCacheDir } = await import("../../../shared/nats-server/cache.ts");
  const { lockFolder } = await import("../../../shared/process/folder-lock.ts");
  const cacheDir = defaultCacheDir();
  await mkdir(cacheDir, { recursive: true, mode: 0o700 });
  const locked = await lockFolder(cacheDir, "image-build.lock");
  if (!locked.ok) throw new Failure(`process ${locked.heldBy} is making an image: wait until it has ended`);
  const folder = path.join(cacheDir, "image-build");
  const remove = () => rm(folder, { recursive: true, force: true });
  await remove();
  await mkdir(folder, { mode: 0o700 });
  return {
    path: folder,
    async [Symbol.asyncDispose]() {
      await remove();
      await locked.lock.release();
    },
  };
}

async function rootFor(folder: string, base: string | undefined) {
  const { folderRoot } = await import("../../host-agent/wsl/image/folder-root.ts");
  const { distroRoot } = await import("../../host-agent/wsl/image/distro-root.ts");
  if (process.platform !== "win32")
    return folderRoot(folder, {
      base: base && path.resolve(base),
      signal: interruption,
      onProgress: progress,
    });
  if (base === undefined)
    throw new UsageError(
      "on Windows an image is made out of a base: give --base FILE, a root file system of Debian",
    );
  const { wsl, distros } = await windows();
  return distroRoot(wsl, distros, path.resolve(base));
}

interface ImportOptions {
  replace?: boolean;
  forAgent?: boolean;
  environment?: string;
}

async function importImage(file: string, options: ImportOptions): Promise<void> {
  const { replace = false, forAgent = false, environment } = options;
  if (environment !== undefined && !forAgent) throw new UsageError("--environment goes with --for-agent");
  const { importImage: registerImage } = await import("../../host-agent/wsl/image/import.ts");
  const { holderOf } = await import("../../../shared/process/folder-lock.ts");
  const { HOST_LOCK } = await import("../../host-agent/identity.ts");
  await thereOrUsage("the image", file);
  if (forAgent) return offer(file, environment);
  const { wsl, distros, dataDir } = await windows();
  const agent = await holderOf(dataDir, HOST_LOCK);
  if (replace && agent !== null)
    throw new Failure(`the host agent (process ${agent}) is running: stop it first, what it runs would end`);
  allowForStop(CLEAN_UP_MS);
  progress(`importing ${file}: this takes minutes`);
  const said = orFail(await registerImage(wsl, { file: path.resolve(file), distros, replace }));
  process.stdout.write(`${said}\n`);
}

/** By the service itself, for whose account nobody else can do it. Null: there was a golden distro already. */
export async function importOnce(file: string): Promise<string | null> {
  const { importIfMissing } = await import("../../host-agent/wsl/image/import.ts");
  await thereOrUsage("the image", file);
  const { wsl, distros } = await windows();
  return orFail(await importIfMissing(wsl, { file: path.resolve(file), distros }));
}

async function offer(file: string, settings: string | undefined): Promise<void> {
  const { readEnvironment } = await import("../../../shared/config/environment.ts");
  const { hostDataDir } = await import("../../host-agent/identity.ts");
  const { offerImage } = await import("../../host-agent/wsl/image/offered.ts");
  const dataDir = hostDataDir(readEnvironment(withSettings(settings)));
  await offerImage(dataDir, path.resolve(file));
  progress(`the host agent of ${dataDir} registers it when it starts next: stop it, and start it again`);
}

async function windows(): Promise<{ wsl: Wsl; distros: string; dataDir: string }> {
  const { readSettings } = await import("../../../shared/config/mesh-config.ts");
  const { hostDataDir } = await import("../../host-agent/identity.ts");
  const { findWsl } = await import("../../host-agent/wsl/find-wsl.ts");
  const { createWsl } = await import("../../host-agent/wsl/wsl.ts");
  const { distrosIn } = await import("../../host-agent/wsl/image/import.ts");
  const environment = await readSettings();
  const dataDir = hostDataDir(environment);
  return {
    wsl: createWsl(orFail(await findWsl(environment.MESH_WSL_EXE))),
    distros: distrosIn(dataDir),
    dataDir,
  };
}

async function thereOrUsage(what: string, file: string | undefined): Promise<void> {
  if (file === undefined) return;
  await access(file).catch(() => {
    throw new UsageError(`${what}: there is no file ${file}`);
  });
}

const HINTS: Partial<Record<string, string>> = {
  "name-taken": "it is left as it is; `--replace` removes one that is ours",
  corrupt: "nothing of it is left, and what was there before stays; is it whole?",
  "disk-full": "make room on this disk; nothing of it is left",
  "service-broken": "`wsl --shutdown` helps, which ends everything in all distros of this account",
  "wrong-account": "run this as the account of the host agent's service",
};

function orFail<Value>(outcome: WslOutcome<Value>): Value {
  if (outcome.ok) return outcome.value;
  interruption.throwIfAborted();
  const { reason, message } = outcome.failure;
  const hint = HINTS[reason];
  throw new Failure(hint === undefined ? message : `${message} (${hint})`);
}
