// One life of a real Debian guest, with systemd and control groups of version 2, under plain emulation: it is given a
// folder, runs a command in it as root, and goes. Nothing that it writes is kept.
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { execa } from "execa";
import type { GuestImage } from "./image.ts";

export const EMULATOR = "qemu-system-x86_64";
/** Without the vector registers of newer ones, which take an emulator several times as long. */
const PROCESSOR = "Nehalem";
const MEMORY = "2048M";
const DISK = "2048M";
/** The last line of the command's output tells how it ended. */
const END = /^guest-exit (\d+)$/;

/**
 * Resolves with the command's exit status; rejects when the guest gives none in time. `folder` is at `/project`, whose
 * disk has room besides.
 */
export async function runInGuest(
  { kernel, initialRamDisk, disk }: GuestImage,
  folder: string,
  options: { command: string; deadlineMs: number; onLine: (line: string) => void },
): Promise<number> {
  const scratch = await mkdtemp(path.join(tmpdir(), "mesh-guest-"));
  try {
    const job = `stty -F /dev/ttyS1 raw\ncd /project\n${options.command}\necho "guest-exit $?"\n`;
    await writeFile(path.join(folder, "job"), job);
    const project = path.join(scratch, "project.ext4");
    await execa("mkfs.ext4", ["-q", "-d", folder, project, DISK]);
    const console = path.join(scratch, "console");
    const emulator = execa(
      EMULATOR,
      [
        ...["-accel", "tcg,thread=multi", "-cpu", PROCESSOR, "-smp", "2", "-m", MEMORY],
        ...["-net", "none", "-display", "none", "-monitor", "none", "-no-reboot"],
        ...["-kernel", kernel, "-initrd", initialRamDisk],
        ...["-append", "root=/dev/vda rw console=ttyS0 quiet mitigations=off"],
        ...[disk, project].flatMap((file) => ["-drive", `file=${file},if=virtio,format=raw,snapshot=on`]),
        ...["-serial", `file:${console}`, "-serial", "stdio"],
      ],
      { stdin: "ignore", buffer: false, reject: false, timeout: options.deadlineMs },
    );
    let exitStatus: number | null = null;
    for await (const line of createInterface(emulator.stdout)) {
      const end = END.exec(line);
      if (end === null) options.onLine(line);
      else exitStatus = Number(end[1]);
    }
    const { timedOut } = await emulator;
    if (exitStatus !== null) return exitStatus;
    const what = timedOut ? `did not end within ${options.deadlineMs} ms` : "ended before its command";
    const said = await readFile(console, "utf8").catch(() => "");
    throw new Error(`the guest ${what}; its console: ${said.slice(-2_000)}`);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}
