// An image is made in a folder of this machine, entered by chroot in namespaces of its own. Takes root on Linux; a base
// is trusted as root is, since its programs run as such.
import { mkdir, readFile, rm } from "node:fs/promises";
import path from "node:path";
import { execa } from "execa";
import { failed, type WslOutcome } from "../wsl-error.ts";
import { PACKAGES } from "./recipe.ts";
import { type ImageRoot, inputOf, lastOf, STEP_MS } from "./root.ts";

const SUITE = "bookworm";
const COMPRESSION: Record<string, string[]> = { ".gz": ["-z"], ".xz": ["-J"] };

/** Its own /proc and the machine's devices, and nothing of that is left in the folder. */
const ENTER = `set -e
mount --make-rprivate /
mount -t proc proc "$1/proc"
mount --rbind /dev "$1/dev"
cd "$1"
script=$2; shift 2
exec chroot . /bin/sh -c "$script" sh "$@"`;

/** Written inside, where a link leads nowhere else. */
const RESOLVE = "mkdir -p /etc && rm -f /etc/resolv.conf && cat > /etc/resolv.conf";

/** Without a base, Debian is made anew from its mirror. */
export async function folderRoot(
  folder: string,
  {
    base,
    signal,
    onProgress,
  }: { base?: string | undefined; signal: AbortSignal; onProgress: (text: string) => void },
): Promise<WslOutcome<ImageRoot>> {
  if (process.getuid?.() !== 0) return failed("bad-argument", "an image is made by root on Linux: use sudo");
  const options = { stdin: "ignore", reject: false, timeout: STEP_MS, cancelSignal: signal } as const;
  await mkdir(folder, { recursive: true });
  onProgress(base === undefined ? `making Debian ${SUITE} from its mirror` : `unpacking ${base}`);
  const made =
    base === undefined
      ? await execa(
          "mmdebstrap",
          ["--quiet", "--variant=minbase", `--include=${PACKAGES.join(",")}`, SUITE, folder],
          options,
        )
      : await execa("tar", ["-x", "--numeric-owner", "--xattrs", "-f", base, "-C", folder], options);
  if (made.failed) {
    const missing = made.code === "ENOENT" ? " (install it, or give --base)" : "";
    return failed("corrupt", `${made.stderr || made.shortMessage}${missing}`);
  }
  for (const mount of ["proc", "dev", "tmp"]) await mkdir(path.join(folder, mount), { recursive: true });

  const enter = (script: string, args: string[]) => [
    ...["--mount", "--pid", "--fork", "--kill-child", "--"],
    ...["sh", "-c", ENTER, "sh", folder, script, ...args],
  ];
  const root: ImageRoot = {
    async run({ name, script, args, stdin }) {
      const ended = await execa("unshare", enter(script, args), {
        ...options,
        // Nothing of this process's own, a key in it least of all.
        extendEnv: false,
        env: { PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", HOME: "/root" },
        stdin: "pipe",
        input: inputOf(stdin),
      });
      if (ended.failed)
        return failed("unknown", `${name}: ${lastOf(ended.stderr || (ended.shortMessage ?? ""))}`);
      return { ok: true, value: ended.stdout };
    },
    async pack(file) {
      const compress = COMPRESSION[path.extname(file)] ?? [];
      const tar = ["-c", ...compress, "--numeric-owner", "--xattrs", "-f", file, "-C", folder, "."];
      const packed = await execa("tar", tar, options);
      if (!packed.failed) return { ok: true, value: null };
      return failed("disk-full", `the image cannot be written: ${lastOf(packed.stderr)}`);
    },
    remove: () => rm(folder, { recursive: true, force: true }),
  };
  const resolver = await readFile("/etc/resolv.conf").catch(() => Buffer.of());
  const named = await root.run({ name: "name servers", script: RESOLVE, args: [], stdin: resolver });
  return named.ok ? { ok: true, value: root } : named;
}
