// The golden image: made of a base, and registered by `mesh host image import` with whatever MESH_WSL_EXE names, our own
// fake if nothing.
import { existsSync, readdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { execa } from "execa";
import { pino } from "pino";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { GOLDEN_DISTRO } from "../../services/host-agent/wsl/distro-layout.ts";
import { bundleGuest, type GuestBundle } from "../../services/host-agent/wsl/guest-bundle.ts";
import { buildImage } from "../../services/host-agent/wsl/image/build.ts";
import { distroRoot } from "../../services/host-agent/wsl/image/distro-root.ts";
import { folderRoot } from "../../services/host-agent/wsl/image/folder-root.ts";
import { takeOfferedImage } from "../../services/host-agent/wsl/image/offered.ts";
import { type ImagePart, imageRecipe } from "../../services/host-agent/wsl/image/recipe.ts";
import type { ImageRoot } from "../../services/host-agent/wsl/image/root.ts";
import { type FakeWindows, hasDistros, startFakeWindows, WSL_PROGRAM } from "../support/fake-wsl.ts";

const NODE: ImagePart = {
  name: "node",
  version: process.versions.node,
  folder: path.dirname(path.dirname(process.execPath)),
  programs: { node: "bin/node" },
};
const quiet = { signal: new AbortController().signal, onProgress: () => {} };
/** What an image must not have, and a base may. */
const SOIL = `mkdir -p /etc/ssh /var/log; echo id > /etc/machine-id; echo key > /etc/ssh/ssh_host_rsa_key
rm -f /etc/agent-mesh-distro /etc/wsl.conf /usr/local/bin/node; echo x > /tmp/x; echo root:x:0:0::/root:/bin/sh > /etc/passwd`;

describe.skipIf(!hasDistros)("the golden image", () => {
  let windows: FakeWindows;
  let guest: GuestBundle;
  let image: string;
  beforeAll(async () => {
    windows = startFakeWindows();
    guest = await bundleGuest();
    image = path.join(windows.folder, "golden.tar");
  });
  afterAll(() => windows[Symbol.asyncDispose]());

  const build = async (root: ImageRoot, out: string) => {
    await root.run({ name: "soil", script: SOIL, args: [] });
    return buildImage(root, imageRecipe({ packages: [], parts: [NODE], guest }), out, quiet);
  };
  const names = async (tarball: string) => (await execa("tar", ["-tf", tarball])).stdout.split("\n");
  const mesh = (...args: string[]) =>
    execa(process.execPath, [path.resolve("services/cli/main.ts"), "host", "image", ...args], {
      env: {
        MESH_WSL_EXE: WSL_PROGRAM,
        MESH_DATA_DIR: path.join(windows.folder, "host"),
        XDG_CACHE_HOME: windows.folder,
      },
      reject: false,
    });
  const distros = async () => {
    const there = await windows.wsl.list();
    return there.ok && there.value.map(({ name }) => name);
  };

  test("made in a folder has its programs and settings, and nothing that is one machine's alone", async () => {
    const folder = path.join(windows.folder, "root");
    const root = await folderRoot(folder, { base: windows.image, ...quiet });
    if (!root.ok) throw new Error(root.failure.message);
    expect(await build(root.value, image)).toMatchObject({
      ok: true,
      value: expect.stringContaining(process.version),
    });
    const there = await names(image);
    expect(there).toEqual(
      expect.arrayContaining([
        "./etc/agent-mesh-distro",
        `./opt/agent-mesh/${guest.fileName}`,
        "./home/mesh/",
      ]),
    );
    expect(
      there.filter((name) => /machine-id|ssh_host|resolv\.conf|\/tmp\/.|\/proc\/.|\/dev\/./.test(name)),
    ).toEqual([]);
    const conf = await execa("tar", ["-xOf", image, "./etc/wsl.conf"]);
    expect(conf.stdout).toMatch(/\[user\]\ndefault=mesh/);
    expect(existsSync(folder)).toBe(false);
  });

  test("made in a distro is the same, and the distro goes, also one that a former build has left", async () => {
    const folder = path.join(windows.folder, "host/distros");
    const out = path.join(windows.folder, "in-distro.tar");
    // Cut off after its first step.
    const left = await distroRoot(windows.wsl, folder, windows.image);
    expect(left.ok).toBe(true);
    const root = await distroRoot(windows.wsl, folder, windows.image);
    if (!root.ok) throw new Error(root.failure.message);
    expect(await build(root.value, out)).toMatchObject({ ok: true });
    const same = (files: string[]) =>
      new Set(files.filter((name) => !/lost\+found|\/(dev|sys|proc|run|mnt)\//.test(name)));
    expect(same(await names(out))).toEqual(same(await names(image)));
    expect([await distros(), readdirSync(folder)]).toEqual([[], []]);
  });

  test("of a base that lacks what nothing works without is not made", async () => {
    const root = await folderRoot(path.join(windows.folder, "poor"), { base: windows.image, ...quiet });
    if (!root.ok) throw new Error(root.failure.message);
    await root.value.run({ name: "soil", script: "rm /usr/bin/bwrap", args: [] });
    const out = path.join(windows.folder, "poor.tar");
    expect(await build(root.value, out)).toMatchObject({
      failure: { message: expect.stringContaining("nor bwrap") },
    });
    expect(readdirSync(windows.folder).filter((name) => name.includes("poor"))).toEqual([]);
  });

  test("is registered once, replaced when that is asked for, and then runs as its user with its guest", async () => {
    const first = await mesh("import", image);
    expect(first).toMatchObject({ exitCode: 0, stdout: expect.stringContaining(`git version`) });
    expect(await distros()).toEqual([GOLDEN_DISTRO]);
    const again = await mesh("import", image);
    expect(again).toMatchObject({ exitCode: 1, stderr: expect.stringContaining("--replace") });
    await windows.wsl.run({ distro: GOLDEN_DISTRO, user: "root", argv: ["/bin/touch", "/root/old"] });
    expect(await mesh("import", image, "--replace")).toMatchObject({ exitCode: 0 });
    const argv = ["/bin/sh", "-c", `ls /root; id -un; ls /opt/agent-mesh`];
    const seen = await windows.wsl.run({ distro: GOLDEN_DISTRO, user: "mesh", argv });
    expect(seen.ok && seen.value.stdout.toString()).toBe(`mesh\n${guest.fileName}\nprograms\n`);
  });

  test("that was left for the host agent is registered at its start, once, and one that is none is not", async () => {
    const dataDir = path.join(windows.folder, "host");
    const offered = () =>
      readdirSync(path.join(dataDir, "distros")).filter((name) => name.includes("offered"));
    const settings = path.join(windows.folder, "host.env");
    writeFileSync(settings, `MESH_DATA_DIR=${dataDir}\n`);
    const start = () => takeOfferedImage(dataDir, WSL_PROGRAM, pino({ level: "silent" }));
    expect(await mesh("import", image, "--environment", settings)).toMatchObject({ exitCode: 2 });
    expect(await mesh("import", image, "--for-agent", "--environment", settings)).toMatchObject({
      exitCode: 0,
    });
    expect(offered()).toEqual(["offered.tar"]);
    await windows.wsl.run({ distro: GOLDEN_DISTRO, user: "root", argv: ["/bin/touch", "/root/old"] });
    await start();
    const seen = await windows.wsl.run({ distro: GOLDEN_DISTRO, user: "root", argv: ["/bin/ls", "/root"] });
    expect([seen.ok && seen.value.stdout.toString(), offered()]).toEqual(["", []]);
    writeFileSync(path.join(windows.folder, "none.tar"), "");
    await mesh("import", path.join(windows.folder, "none.tar"), "--for-agent");
    await start();
    // What works is not given up for what does not.
    expect([await distros(), offered()]).toEqual([[GOLDEN_DISTRO], []]);
  });

  test("that is none is refused in words, and leaves nothing, nor takes anything", async () => {
    expect((await windows.wsl.unregister(GOLDEN_DISTRO)).ok).toBe(true);
    const folder = path.join(windows.folder, "host/distros");
    await execa("rm", ["-rf", folder]);
    const cut = path.join(windows.folder, "cut.tar");
    const [empty, strange] = ["empty.tar", "strange.tar"].map((name) => path.join(windows.folder, name));
    await execa("sh", [
      "-c",
      `head -c 5000000 ${image} > ${cut}; : > ${empty}; tar -cf ${strange} -C / etc/hostname`,
    ]);
    for (const file of [cut, empty, strange]) {
      const { exitCode, stderr } = await mesh("import", file as string);
      expect([exitCode, stderr]).toEqual([1, expect.stringMatching(/nothing of it is left/)]);
      expect([await distros(), readdirSync(folder)]).toEqual([[], []]);
    }
    expect(await mesh("import", "/no/such.tar")).toMatchObject({ exitCode: 2 });
    expect(await mesh("build", "--out", "x.zip")).toMatchObject({ exitCode: 2 });
    expect(await mesh("build", "--out", "x.tar", "--agent", "other")).toMatchObject({ exitCode: 2 });
    expect(await mesh("build", "--out", "x.tar", "--package", "-o x")).toMatchObject({ exitCode: 2 });
    // The name is somebody else's.
    await execa(WSL_PROGRAM, ["--import", GOLDEN_DISTRO, path.join(windows.folder, "theirs"), windows.image]);
    await windows.wsl.run({
      distro: GOLDEN_DISTRO,
      user: "root",
      argv: ["/bin/rm", "/etc/agent-mesh-distro"],
    });
    for (const flags of [[], ["--replace"]])
      expect(await mesh("import", image, ...flags)).toMatchObject({ exitCode: 1 });
    expect(await distros()).toEqual([GOLDEN_DISTRO]);
  });
});
