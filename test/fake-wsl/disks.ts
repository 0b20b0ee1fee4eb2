// Disks of distros: a file each, with a real ext4 in it, so that they fill up, are copied, and are damaged as disks are.
import { type SpawnSyncReturns, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmdirSync } from "node:fs";
import { copyFile, open, truncate } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";

const DISK_MIB = Number(process.env.FAKE_WSL_DISK_MIB ?? 512);

/** Mounts the disk `$1` at `$2`, with the options `$3`, for what follows; what is written is on it afterwards. */
const WITH_DISK = `set -e; disk=$2; mount --make-rprivate /; mount -o "loop$3" "$1" "$disk"; trap 'umount "$disk"' EXIT; shift 3;`;

export async function newDisk(file: string): Promise<void> {
  await (await open(file, "wx")).close();
  await truncate(file, DISK_MIB * 1_048_576);
  await succeed("mkfs.ext4", ["-q", "-F", "-E", "nodiscard,lazy_itable_init=1", file]);
}

/** Unpacks a tarball onto the disk. Null, or the last segment of the failure's code. */
export async function unpack(disk: string, tarball: string): Promise<string | null> {
  const script = `tar -x --numeric-owner --xattrs -f "$1" -C "$disk"; test -e "$disk/etc" -o -e "$disk/bin/sh" || exit 9`;
  const { status, stderr } = await withDisk(disk, "", script, [tarball]);
  if (status === 0) return null;
  if (status === 9) return "WSL_E_NOT_A_LINUX_DISTRO";
  return /No space left/.test(stderr) ? "0x80070070" : "WSL_E_IMPORT_FAILED";
}

/** Null when the disk can be mounted and has a Linux on it. */
export async function checkDisk(disk: string): Promise<string | null> {
  const { status } = await withDisk(disk, ",ro", `test -e "$disk/etc" -o -e "$disk/bin/sh" || exit 9`, []);
  return status === 0 ? null : status === 9 ? "WSL_E_NOT_A_LINUX_DISTRO" : "WSL_E_DISK_CORRUPTED";
}

export async function pack(disk: string, file: string, format: string): Promise<boolean> {
  if (format === "vhd") {
    await copyFile(disk, file);
    return true;
  }
  const flag = { "tar.gz": "-z", "tar.xz": "-J" }[format] ?? "";
  const { status } = await withDisk(
    disk,
    ",ro",
    `tar -c ${flag} --numeric-owner -f "$1" -C "$disk" --exclude=./lost+found .`,
    [file],
  );
  return status === 0;
}

async function withDisk(disk: string, options: string, script: string, args: string[]) {
  const place = mkdtempSync(path.join(tmpdir(), "fake-wsl-disk-"));
  try {
    const shell = [
      "--mount",
      "--",
      "sh",
      "-c",
      `${WITH_DISK} ${script}`,
      "sh",
      disk,
      place,
      options,
      ...args,
    ];
    return await finished("unshare", shell);
  } finally {
    rmdirSync(place);
  }
}

async function succeed(program: string, args: string[]): Promise<void> {
  const { status, stderr } = await finished(program, args);
  if (status !== 0) throw new Error(`${program} ${args.join(" ")}: ${stderr}`);
}

function finished(
  program: string,
  args: string[],
): Promise<Pick<SpawnSyncReturns<string>, "status" | "stderr">> {
  return new Promise((resolve, reject) => {
    const env = { ...process.env, PATH: `${process.env.PATH ?? ""}:/usr/sbin:/sbin`, LC_ALL: "C" };
    const child = spawn(program, args, { stdio: ["ignore", "ignore", "pipe"], env });
    let stderr = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr += text;
    });
    child.once("error", reject).once("close", (status) => resolve({ status, stderr }));
  });
}

/** `--import` makes the last folder of the path, no other. False if it cannot. */
export function makeFolder(folder: string): boolean {
  try {
    mkdirSync(folder);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EEXIST";
  }
}
