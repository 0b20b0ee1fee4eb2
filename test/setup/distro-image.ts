// A root file system for distros of tests, of this machine's own programs, before the tests that need one: it stands by
// itself, as the image of `mesh host image build` does, but is made in seconds and without a network.
import { execFileSync } from "node:child_process";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import type { TestProject } from "vitest/node";
import { MARKER, MARKER_FILE, NODE_PROGRAM, WSL_CONF } from "../../services/host-agent/wsl/distro-layout.ts";

declare module "vitest" {
  export interface ProvidedContext {
    /** A tarball; empty where distros cannot be had, for want of Linux and root. */
    distroImage: string;
  }
}

const PROGRAMS =
  `awk bash bwrap cat chmod chown cp cut date dd df du echo env expr false find git grep head id kill ln ls mkdir mkfifo
  mktemp mount mountpoint mv nohup printf ps pwd readlink rm rmdir sed setpriv setsid sh sha256sum sleep sort stat tail tar
  test touch tr true tty umount uname unshare wc xargs`.split(/\s+/);
const FOLDERS = [
  "etc",
  "root",
  "srv",
  "opt",
  "var/tmp",
  "home/mesh",
  "dev",
  "proc",
  "sys",
  "run",
  "tmp",
  "mnt/wsl",
];
const LINKS = { bin: "usr/bin", sbin: "usr/sbin", lib: "usr/lib", lib64: "usr/lib64" };
/** What other programs that are put there may be linked with: they belong to the C library. */
const LIBC_PARTS = ["libdl.so.2", "libm.so.6", "libpthread.so.0", "librt.so.1"];
const USERS = `root:x:0:0:root:/root:/bin/bash
mesh:x:1000:1000:agent-mesh:/home/mesh:/bin/bash
nobody:x:65534:65534:nobody:/nonexistent:/bin/false
`;
const GROUPS = "root:x:0:\nmesh:x:1000:\nnogroup:x:65534:\n";

export default function provideDistroImage(project: TestProject): (() => void) | undefined {
  if (process.platform !== "linux" || process.getuid?.() !== 0) {
    console.error("\n!!! The tests of distros are SKIPPED: they take root on Linux\n");
    return project.provide("distroImage", "") as undefined;
  }
  const folder = mkdtempSync(path.join(tmpdir(), "mesh-distro-image-"));
  const image = path.join(folder, "image.tar");
  makeRoot(path.join(folder, "root"));
  execFileSync("tar", ["-cf", image, "-C", path.join(folder, "root"), "."]);
  rmSync(path.join(folder, "root"), { recursive: true });
  project.provide("distroImage", image);
  return () => rmSync(folder, { recursive: true, force: true });
}

function makeRoot(root: string): void {
  for (const folder of [...Object.values(LINKS), ...FOLDERS])
    mkdirSync(path.join(root, folder), { recursive: true });
  for (const [name, target] of Object.entries(LINKS)) symlinkSync(target, path.join(root, name));
  const programs = PROGRAMS.map((name) => execFileSync("which", [name], { encoding: "utf8" }).trim());
  for (const program of programs) copyFileSync(program, path.join(root, "usr/bin", path.basename(program)));
  const gitCore = execFileSync("git", ["--exec-path"], { encoding: "utf8" }).trim();
  execFileSync("cp", ["-a", "--parents", gitCore, root]);
  copyFileSync(process.execPath, inside(root, NODE_PROGRAM));
  const needed = [...programs, process.execPath, path.join(gitCore, "git-remote-http")];
  for (const library of librariesOf(needed)) {
    const target = path.join(root, "usr", library.replace(/^\/usr/, ""));
    mkdirSync(path.dirname(target), { recursive: true });
    if (!existsSync(target)) copyFileSync(realpathSync(library), target);
  }
  writeFileSync(path.join(root, "etc/passwd"), USERS);
  writeFileSync(path.join(root, "etc/group"), GROUPS);
  writeFileSync(path.join(root, "etc/wsl.conf"), WSL_CONF);
  // The real WSL writes one into every distro.
  writeFileSync(path.join(root, "etc/hosts"), "127.0.0.1 localhost\n::1 localhost ip6-localhost\n");
  writeFileSync(path.join(root, MARKER_FILE), `${MARKER}\n`);
  if (existsSync("/etc/ssl/certs/ca-certificates.crt")) {
    mkdirSync(path.join(root, "etc/ssl/certs"), { recursive: true });
    copyFileSync("/etc/ssl/certs/ca-certificates.crt", path.join(root, "etc/ssl/certs/ca-certificates.crt"));
  }
  if (readdirSync(path.join(root, "usr/lib64")).length === 0) throw new Error("found no dynamic linker");
}

function inside(root: string, file: string): string {
  mkdirSync(path.dirname(path.join(root, file)), { recursive: true });
  return path.join(root, file);
}

/** Shared libraries, and the program that loads them. */
function librariesOf(programs: string[]): Set<string> {
  const listed = programs
    .filter((file) => existsSync(file))
    .map((file) => {
      try {
        return execFileSync("ldd", [file], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
      } catch {
        // It needs none.
        return "";
      }
    });
  const found = listed.join("\n").match(/\/[^\s:()]+(?= \(0x)/g) ?? [];
  const folders = new Set(
    found.filter((file) => file.endsWith("/libc.so.6")).map((file) => path.dirname(file)),
  );
  const parts = [...folders].flatMap((folder) => LIBC_PARTS.map((name) => path.join(folder, name)));
  return new Set([...found, ...parts.filter((file) => existsSync(file))]);
}
