// The disk of a real Debian guest, made from Debian's packages and kept in the user's cache. An image appears there
// whole, by a rename, and is never written to again: any number of guests may run from it at once.
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { rename, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { execa } from "execa";
import { defaultCacheDir, fetchFolder } from "../../shared/nats-server/cache.ts";

export interface GuestImage {
  kernel: string;
  initialRamDisk: string;
  disk: string;
}

const PACKAGES = [
  ...["systemd", "systemd-sysv", "dbus", "udev", "kmod", "procps", "util-linux", "bubblewrap"],
  ...["linux-image-cloud-amd64", "initramfs-tools", "zstd"],
];
const BUILD_MS = 300_000;

/** Runs what a guest was started for, once everything else in it runs, and then switches it off. */
const JOB = `[Unit]
After=multi-user.target
SuccessAction=poweroff-immediate
FailureAction=poweroff-immediate
[Service]
Type=oneshot
StandardOutput=file:/dev/ttyS1
StandardError=inherit
Environment=HOME=/root
ExecStart=/bin/sh /project/job
[Install]
WantedBy=multi-user.target
`;
const UPLOADED = { "job.service": JOB, fstab: "/dev/vdb /project ext4 defaults 0 0\n" };
const HOOKS = [
  "upload job.service /etc/systemd/system/job.service",
  "upload fstab /etc/fstab",
  'mkdir "$1/project"; chroot "$1" systemctl --quiet enable job.service',
  'mv "$1"/boot/vmlinuz-* "$1/boot/vmlinuz"; mv "$1"/boot/initrd.img-* "$1/boot/initrd.img"',
  "copy-out /boot/vmlinuz /boot/initrd.img .",
];
const RECIPE = [
  ...["--variant=minbase", "--format=ext2", `--include=${PACKAGES.join(",")}`],
  ...HOOKS.map((hook) => `--customize-hook=${hook}`),
  ...["bookworm", "root.ext2"],
];

/** Makes it, unless it is there. Rejects where its packages, or what makes it of them, cannot be had. */
export async function guestImage(): Promise<GuestImage> {
  // By another recipe it is another image.
  const recipe = createHash("sha256")
    .update(JSON.stringify([RECIPE, UPLOADED]))
    .digest("hex");
  const folder = path.join(defaultCacheDir(), `guest-image-${recipe.slice(0, 16)}`);
  if (!existsSync(folder)) {
    await using fetching = await fetchFolder(defaultCacheDir());
    await build(fetching.path);
    try {
      await rename(fetching.path, folder);
    } catch (error) {
      // Somebody else was faster: theirs is as good.
      if (!existsSync(folder)) throw error;
    }
  }
  const file = (name: string) => path.join(folder, name);
  return { kernel: file("vmlinuz"), initialRamDisk: file("initrd.img"), disk: file("root.ext2") };
}

async function build(folder: string): Promise<void> {
  const uploaded = Object.entries(UPLOADED).map(([name, text]) => ({ file: path.join(folder, name), text }));
  for (const { file, text } of uploaded) await writeFile(file, text);
  await execa("mmdebstrap", RECIPE, { cwd: folder, timeout: BUILD_MS, stdin: "ignore" });
  for (const { file } of uploaded) await rm(file);
}
