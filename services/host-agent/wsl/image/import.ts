// Registers the golden distro from an image: under our name, for this account, and only if it is an image of ours that
// works. A failure leaves no distro and no file.
import path from "node:path";
import { execa } from "execa";
import { dropCopySource, removeDistro } from "../copied-distro.ts";
import { GOLDEN_DISTRO, MARKER_FILE, NODE_PROGRAM } from "../distro-layout.ts";
import { bundleGuest } from "../guest-bundle.ts";
import { installGuest } from "../install-guest.ts";
import type { Wsl } from "../wsl.ts";
import { failed, type WslOutcome } from "../wsl-error.ts";

/** What instances cannot do without. */
const CHECK = `cat "$1" && "$2" --version && git --version && bwrap --version`;

/** Of the names in a tarball, characters. */
const LIST_MAX = 100_000_000;

/** Below the data folder, where all distros of a host lie. */
export const distrosIn = (dataDir: string): string => path.join(dataDir, "distros");

/** `replace`: one that is there already is removed first, with all that runs in it. Tells what is in the image. */
export async function importImage(
  wsl: Wsl,
  { file, distros, replace }: { file: string; distros: string; replace: boolean },
): Promise<WslOutcome<string>> {
  const golden = { distro: GOLDEN_DISTRO, folder: path.join(distros, GOLDEN_DISTRO) };
  if (replace) {
    // Before the one that works is given up.
    if (!(await isImage(file))) return failed("corrupt", `${file} is no whole image of ours`);
    const removed = await removeDistro(wsl, golden);
    if (!removed.ok) return removed;
  }
  const made = await wsl.importTar({ ...golden, file });
  if (!made.ok) return made;
  await dropCopySource(distros);
  const tried = await tryIt(wsl);
  if (!tried.ok) await removeDistro(wsl, golden);
  return tried;
}

/** Null where there is a golden distro already. */
export async function importIfMissing(
  wsl: Wsl,
  image: { file: string; distros: string },
): Promise<WslOutcome<string | null>> {
  const there = await wsl.list();
  if (!there.ok) return there;
  if (there.value.some(({ name }) => name === GOLDEN_DISTRO)) return { ok: true, value: null };
  return importImage(wsl, { ...image, replace: false });
}

/** Read to its end. */
async function isImage(file: string): Promise<boolean> {
  const listed = await execa("tar", ["-tf", file], { stdin: "ignore", reject: false, maxBuffer: LIST_MAX });
  const names = listed.failed ? [] : listed.stdout.split(/\r?\n/);
  return names.some((name) => name.replace(/^\.?\/?/, "/") === MARKER_FILE);
}

async function tryIt(wsl: Wsl): Promise<WslOutcome<string>> {
  const argv = ["/bin/sh", "-c", CHECK, "sh", MARKER_FILE, NODE_PROGRAM];
  const check = await wsl.run({ distro: GOLDEN_DISTRO, user: "root", argv });
  if (!check.ok) return isNone(check.failure.message);
  const { exitCode, stdout, stderr } = check.value;
  if (exitCode !== 0) return isNone(stderr.trim().slice(-500));
  const guest = await installGuest(wsl, GOLDEN_DISTRO, await bundleGuest());
  return guest.ok ? { ok: true, value: stdout.toString().trim() } : guest;
}

const isNone = (why: string) => failed("corrupt", `it does not work as an image of ours: ${why}`);
