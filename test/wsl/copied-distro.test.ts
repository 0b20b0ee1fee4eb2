// Distros that are copies of the golden one, against whatever MESH_WSL_EXE names, our own fake if nothing.
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, rmSync, statSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { withArguments } from "../../services/host-agent/guest/processes.ts";
import {
  copyDistro,
  copySource,
  dropCopySource,
  removeDistro,
} from "../../services/host-agent/wsl/copied-distro.ts";
import { GOLDEN_DISTRO } from "../../services/host-agent/wsl/distro-layout.ts";
import { type FakeWindows, hasDistros, startFakeWindows } from "../support/fake-wsl.ts";
import { canMount, mountSmallDisk } from "../support/small-disk.ts";

const NEVER = new AbortController().signal;
const DONE = { ok: true, value: null };

describe.skipIf(!hasDistros)("a distro that is a copy of the golden one", () => {
  let windows: FakeWindows;
  let distros: string;
  let source: string;
  beforeAll(async () => {
    windows = startFakeWindows();
    distros = path.join(windows.folder, "distros");
    const folder = path.join(distros, GOLDEN_DISTRO);
    await windows.wsl.importTar({ distro: GOLDEN_DISTRO, folder, file: windows.image });
    const made = await copySource(windows.wsl, distros);
    if (!made.ok) throw new Error(made.failure.message);
    source = made.value;
  });
  afterAll(() => windows[Symbol.asyncDispose]());
  const sh = async (distro: string, script: string) => {
    const end = await windows.wsl.run({ distro, user: "root", argv: ["/bin/sh", "-c", script] });
    return end.ok ? end.value.stdout.toString() : end.failure.reason;
  };
  const names = async () => {
    const there = await windows.wsl.list();
    return there.ok && there.value.map(({ name }) => name).toSorted((one, other) => one.localeCompare(other));
  };

  test("is one of its own, and the next is as new, whatever was done to it", async () => {
    const copy = { distro: "agent-mesh-copy-1", folder: path.join(distros, "copy-1") };
    expect(await copyDistro(windows.wsl, source, copy, NEVER)).toEqual(DONE);
    await sh(copy.distro, "rm -rf /usr/lib/git-core /srv; echo x > /root/left; (setsid sleep 4719 &)");
    expect(await sh(GOLDEN_DISTRO, "ls -d /srv /root/left 2>&1")).toContain("/srv\n");
    expect(await removeDistro(windows.wsl, copy)).toEqual(DONE);
    expect(await copyDistro(windows.wsl, source, copy, NEVER)).toEqual(DONE);
    expect(await sh(copy.distro, "ls -d /srv; ls /root; cat /proc/[0-9]*/cmdline | grep -c 471[9]")).toBe(
      "/srv\n0\n",
    );
    expect(await removeDistro(windows.wsl, copy)).toEqual(DONE);
    expect([await names(), existsSync(copy.folder)]).toEqual([[GOLDEN_DISTRO], false]);
    expect(await removeDistro(windows.wsl, copy)).toEqual(DONE);
  });

  test.skipIf(!canMount)("that finds no room on the disk is not there, nor anything of it", async () => {
    using disk = mountSmallDisk(64);
    const copy = { distro: "agent-mesh-copy-2", folder: path.join(disk.folder, "copy-2") };
    expect(await copyDistro(windows.wsl, source, copy, NEVER)).toMatchObject({
      failure: { reason: "disk-full" },
    });
    expect([await names(), readdirSync(disk.folder)]).toEqual([[GOLDEN_DISTRO], []]);
  });

  test("that nobody wants any more is broken off while its disk is copied, and leaves nothing", async () => {
    const large = path.join(distros, "large.vhdx");
    // Without a hole in it, so that copying it takes a while.
    await windows.wsl.exportTo({ distro: GOLDEN_DISTRO, file: large });
    execFileSync("sh", ["-c", 'cat /dev/zero | head -c 800000000 >> "$0"', large]);
    const copy = { distro: "agent-mesh-copy-4", folder: path.join(distros, "copy-4") };
    const stop = new AbortController();
    const copied = copyDistro(windows.wsl, large, copy, stop.signal).catch((error: unknown) => error);
    await vi.waitUntil(() => withArguments(large).length > 0, { timeout: 30_000, interval: 5 });
    stop.abort(new Error("the host stops"));
    expect(await copied).toMatchObject({ message: "the host stops" });
    expect([await names(), existsSync(copy.folder), withArguments(large)]).toEqual([
      [GOLDEN_DISTRO],
      false,
      [],
    ]);
    rmSync(large);
  });

  test("takes its disk from a source that is made once, until the golden one is another", async () => {
    const made = statSync(source).ino;
    await copySource(windows.wsl, distros);
    expect(statSync(source).ino).toBe(made);
    await dropCopySource(distros);
    expect(existsSync(source)).toBe(false);
    expect(
      await copyDistro(
        windows.wsl,
        source,
        { distro: "agent-mesh-copy-3", folder: path.join(distros, "3") },
        NEVER,
      ),
    ).toMatchObject({
      failure: { reason: "file-missing" },
    });
    expect(await names()).toEqual([GOLDEN_DISTRO]);
  });
});
